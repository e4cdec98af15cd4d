/** Turns view: searchable list of turns, and the details of one turn. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Api } from "../../api/client";
import { Icon } from "../../components/Icon";
import { Notice } from "../../components/Notice";
import { TurnRow } from "../../components/TurnRow";
import { VirtualList } from "../../components/VirtualList";
import { formatNumber } from "../../format";
import { useAppState } from "../../state";
import { TurnDetail } from "./detail";
import type { TurnList } from "./store";
import "./style.css";

const ROW_PX = 66;

export function Turns({ store, api }: { store: TurnList; api: Api }) {
  const state = useAppState();
  const trace = state.route.value.rest;
  const isFirstRun = useRef(true);
  const latest = state.recentTurns.value[0]?.trace_id;
  const timings = state.lastTimings.value;
  const [initialSearch] = useState(() => store.search.value);
  useEffect(() => {
    if (store.items.value.length === 0) store.reload();
  }, []);
  useEffect(() => {
    if (isFirstRun.current) isFirstRun.current = false;
    else void store.loadNewest();
  }, [latest, timings]);
  const items = store.items.value;
  return (
    <div class={`view turns ${trace ? "detail-open" : ""}`}>
      <div class="turns-list">
        {!trace && <h1>Turns</h1>}
        <div class="search" role="search">
          <label class="visually-hidden" for="turn-search">
            Search utterances and replies
          </label>
          <Icon name="search" size={20} />
          <input
            id="turn-search"
            class="field"
            type="search"
            placeholder="Search"
            maxLength={200}
            defaultValue={initialSearch}
            onInput={(event) => store.setSearch(event.currentTarget.value)}
          />
        </div>
        <p class="small muted" role="status">
          {store.busy.value && items.length === 0
            ? "Searching."
            : `${formatNumber(items.length)}${store.isComplete.value ? "" : " or more"} turns`}
        </p>
        {store.error.value && (
          <Notice kind="bad" title={store.error.value}>
            <button type="button" class="button" onClick={store.reload}>
              Try again
            </button>
          </Notice>
        )}
        {items.length > 0 ? (
          <div class="turns-scroll">
            <VirtualList
              items={items}
              rowPx={ROW_PX}
              label="Turns, newest first"
              keyOf={(turn) => turn.trace_id}
              more={store.loadMore}
              row={(turn) => <TurnRow turn={turn} isCurrent={turn.trace_id === trace} />}
            />
          </div>
        ) : (
          store.isComplete.value &&
          !store.error.value && (
            <Notice title={store.search.value ? "No turn was found." : "There are no turns yet."} />
          )
        )}
      </div>
      {trace && <TurnDetail key={trace} trace={trace} api={api} hasTimings={timings?.trace_id === trace} />}
    </div>
  );
}
