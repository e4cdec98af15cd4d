/** The turns that were fetched so far: a page at a time, newest first, for one search. */
import { signal } from "@preact/signals";
import type { Api } from "../../api/client";
import type { TurnShape } from "../../api/types";

const PAGE = 200;
const NEWEST = 20;
const TYPING_MS = 250;

/** The turns of both, newest first, each once. Pure. */
export function merged(newer: TurnShape[], known: TurnShape[]): TurnShape[] {
  const seen = new Map([...known, ...newer].map((one) => [one.trace_id, one]));
  const place = (one: TurnShape): string => `${one.created_at} ${one.trace_id}`;
  return [...seen.values()].sort((a, b) => (place(a) < place(b) ? 1 : -1));
}

export function createTurns(api: Pick<Api, "turns">) {
  const items = signal<TurnShape[]>([]);
  const search = signal("");
  const trouble = signal("");
  const whole = signal(false);
  const busy = signal(false);
  let next: string | null = null;
  let typing: ReturnType<typeof setTimeout> | undefined;
  let running = new AbortController();

  const fetchPage = async (): Promise<void> => {
    if (busy.value || whole.value) return;
    const mine = running;
    busy.value = true;
    try {
      const page = await api.turns(search.value, next, PAGE, mine.signal);
      if (mine !== running) return;
      items.value = [...items.value, ...page.turns];
      next = page.next;
      whole.value = page.next === null;
      trouble.value = "";
    } catch (error) {
      if (mine !== running) return;
      trouble.value = error instanceof Error ? error.message : String(error);
      whole.value = true; // until somebody asks again
    } finally {
      if (mine === running) busy.value = false;
    }
  };

  const afresh = (): void => {
    running.abort();
    running = new AbortController();
    busy.value = false;
    next = null;
    whole.value = false;
    items.value = [];
    void fetchPage();
  };

  return {
    items,
    search,
    trouble,
    whole,
    busy,
    more: () => void fetchPage(),
    afresh,
    look(text: string): void {
      search.value = text;
      clearTimeout(typing);
      typing = setTimeout(afresh, TYPING_MS);
    },
    /** Something was said: fetch what is new on top of what is there. */
    async newest(): Promise<void> {
      const mine = running;
      try {
        const page = await api.turns(search.value, null, NEWEST, mine.signal);
        if (mine === running) items.value = merged(page.turns, items.value);
      } catch {
        // the next one that is said tries again
      }
    },
  };
}

export type Turns = ReturnType<typeof createTurns>;
