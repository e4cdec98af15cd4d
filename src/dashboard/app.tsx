/** Root component: login page, or the current view in the page layout. */
import type { Api } from "./api/client";
import { Layout } from "./components/Layout";
import { Login } from "./components/Login";
import { type State, StateContext } from "./state";
import { Access } from "./views/Access";
import { Backups } from "./views/Backups";
import { Gpu } from "./views/Gpu";
import { Status } from "./views/Status";
import { Talk } from "./views/Talk";
import { Turns } from "./views/Turns";
import type { TurnList } from "./views/Turns/store";
import type { Call } from "./voice/call";

export interface AppProps {
  state: State;
  api: Api;
  call: Call;
  turns: TurnList;
  onLogin: () => void;
  onLogout: () => void;
}

export function App(props: AppProps) {
  return (
    <StateContext.Provider value={props.state}>
      <Content {...props} />
    </StateContext.Provider>
  );
}

function Content(props: AppProps) {
  const login = props.state.login.value;
  if (login === "logged-out") return <Login api={props.api} onLogin={props.onLogin} />;
  if (login === "unknown") return <Splash />;
  return (
    <Layout>
      <View {...props} />
    </Layout>
  );
}

/** The same as in index.html before the script is loaded. */
function Splash() {
  return (
    <div class="splash">
      <img src="icon.svg" alt="" width="72" height="72" />
      <p>Barnabee</p>
    </div>
  );
}

function View({ state, api, call, turns, onLogout }: AppProps) {
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
      return <Access api={api} onLogout={onLogout} />;
    default:
      return <Status />;
  }
}
