/** What was said: a list to search, and for each turn where its time went. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import { Icon } from "../../components/Icon";
import { Notice } from "../../components/Notice";
import { TurnRow } from "../../components/TurnRow";
import { VirtualList } from "../../components/VirtualList";
import { number } from "../../format";
import { useHouse } from "../../state";
import { TurnDetail } from "./detail";
import type { Turns as Store } from "./store";
import "./style.css";

const ROW_PX = 66;

export function Turns({ store, api }: { store: Store; api: Api }) {
  const state = useHouse();
  const trace = state.route.value.rest;
  const first = useRef(true);
  const latest = state.recent.value[0]?.trace_id;
  const spoken = state.spoken.value;
  const [field] = useState(() => store.search.value);
  useEffect(() => {
    if (store.items.value.length === 0) store.afresh();
  }, []);
  useEffect(() => {
    if (first.current) first.current = false;
    else void store.newest();
  }, [latest, spoken]);
  const items = store.items.value;
  return (
    <div class={`view turns ${trace ? "one-open" : ""}`}>
      <div class="turns-list">
        {!trace && <h1>Turns</h1>}
        <div class="search" role="search">
          <label class="unseen" for="turn-search">
            Search what was said and answered
          </label>
          <Icon name="search" size={20} />
          <input
            id="turn-search"
            class="field"
            type="search"
            placeholder="Search"
            maxLength={200}
            defaultValue={field}
            onInput={(event) => store.look(event.currentTarget.value)}
          />
        </div>
        <p class="small soft" role="status">
          {store.busy.value && items.length === 0
            ? "Looking it up."
            : `${number(items.length)}${store.whole.value ? "" : " or more"} turns`}
        </p>
        {store.trouble.value && (
          <Notice kind="bad" title={store.trouble.value}>
            <button type="button" class="button" onClick={store.afresh}>
              Try again
            </button>
          </Notice>
        )}
        {items.length > 0 ? (
          <div class="turns-box">
            <VirtualList
              items={items}
              rowPx={ROW_PX}
              label="Turns, newest first"
              keyOf={(turn) => turn.trace_id}
              more={store.more}
              row={(turn) => <TurnRow turn={turn} here={turn.trace_id === trace} />}
            />
          </div>
        ) : (
          store.whole.value &&
          !store.trouble.value && (
            <Notice title={store.search.value ? "Nothing was found." : "Nothing has been said yet."} />
          )
        )}
      </div>
      {trace && <TurnDetail key={trace} trace={trace} api={api} spoken={spoken?.trace_id === trace} />}
    </div>
  );
}
