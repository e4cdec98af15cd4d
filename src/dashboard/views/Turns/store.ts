/** List of turns: loaded page by page, newest first, for one search text. */
import { signal } from "@preact/signals";
import type { Api } from "../../api/client";
import type { TurnResponse } from "../../api/types";

const PAGE_TURNS = 200;
const NEWEST_TURNS = 20;
const DEBOUNCE_MS = 250;

/** Returns the turns of both lists, newest first, without duplicates. Pure. */
export function mergeTurns(newer: TurnResponse[], known: TurnResponse[]): TurnResponse[] {
  const byId = new Map([...known, ...newer].map((one) => [one.trace_id, one]));
  const sortKey = (one: TurnResponse): string => `${one.created_at} ${one.trace_id}`;
  return [...byId.values()].sort((a, b) => (sortKey(a) < sortKey(b) ? 1 : -1));
}

export function createTurnList(api: Pick<Api, "listTurns">) {
  const items = signal<TurnResponse[]>([]);
  const search = signal("");
  const error = signal("");
  const isComplete = signal(false);
  const busy = signal(false);
  let next: string | null = null;
  let debounce: ReturnType<typeof setTimeout> | undefined;
  let running = new AbortController();

  const loadPage = async (): Promise<void> => {
    if (busy.value || isComplete.value) return;
    const own = running;
    busy.value = true;
    try {
      const page = await api.listTurns(search.value, next, PAGE_TURNS, own.signal);
      if (own !== running) return;
      items.value = [...items.value, ...page.turns];
      next = page.next;
      isComplete.value = page.next === null;
      error.value = "";
    } catch (reason) {
      if (own !== running) return;
      error.value = reason instanceof Error ? reason.message : String(reason);
      isComplete.value = true; // until the next reload
    } finally {
      if (own === running) busy.value = false;
    }
  };

  const reload = (): void => {
    running.abort();
    running = new AbortController();
    busy.value = false;
    next = null;
    isComplete.value = false;
    items.value = [];
    void loadPage();
  };

  return {
    items,
    search,
    error,
    isComplete,
    busy,
    loadMore: () => void loadPage(),
    reload,
    setSearch(text: string): void {
      search.value = text;
      clearTimeout(debounce);
      debounce = setTimeout(reload, DEBOUNCE_MS);
    },
    /** Adds turns that are newer than the loaded ones. */
    async loadNewest(): Promise<void> {
      const own = running;
      try {
        const page = await api.listTurns(search.value, null, NEWEST_TURNS, own.signal);
        if (own === running) items.value = mergeTurns(page.turns, items.value);
      } catch {
        // retried after the next turn
      }
    },
  };
}

export type TurnList = ReturnType<typeof createTurnList>;
