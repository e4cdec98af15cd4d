/** Which view is shown. */
import type { Api } from "./api/client";
import { Login } from "./components/Login";
import { Shell } from "./components/Shell";
import { type State, StateContext } from "./state";
import type { Call } from "./talk/call";
import { Access } from "./views/Access";
import { Backups } from "./views/Backups";
import { Gpu } from "./views/Gpu";
import { Now } from "./views/Now";
import { Talk } from "./views/Talk";
import { Turns } from "./views/Turns";
import type { Turns as TurnStore } from "./views/Turns/store";

export interface Parts {
  state: State;
  api: Api;
  call: Call;
  turns: TurnStore;
  onIn: () => void;
  onOut: () => void;
}

export function App(parts: Parts) {
  return (
    <StateContext.Provider value={parts.state}>
      <Inside {...parts} />
    </StateContext.Provider>
  );
}

function Inside(parts: Parts) {
  const entry = parts.state.entry.value;
  if (entry === "out") return <Login api={parts.api} onIn={parts.onIn} />;
  if (entry === "unknown") return <Waking />;
  return (
    <Shell>
      <View {...parts} />
    </Shell>
  );
}

/** What index.html shows before there is any script. */
function Waking() {
  return (
    <div class="waking">
      <img src="/icon.svg" alt="" width="72" height="72" />
      <p>Barnabee</p>
    </div>
  );
}

function View({ state, api, call, turns, onOut }: Parts) {
  switch (state.route.value.view) {
    case "talk":
      return <Talk call={call} />;
    case "turns":
      return <Turns store={turns} api={api} />;
    case "gpu":
      return <Gpu api={api} />;
    case "backups":
      return <Backups api={api} />;
    case "access":
      return <Access api={api} onOut={onOut} />;
    default:
      return <Now />;
  }
}
