/** The copy of everything that was said: how far behind it is, and whether it was ever tried. */
import { Card } from "../../components/Card";
import { Notice } from "../../components/Notice";
import { useHouse } from "../../state";

export function Backups() {
  const state = useHouse();
  const replica = state.trusted.value?.services.flatMap((one) => one.needs).find((one) => one.name === "replica");
  return (
    <div class="view stack">
      <h1>Backups</h1>
      <Card title="The copy">
        {replica ? (
          <p>{replica.state === "healthy" ? "Everything that was written is also in the copy." : replica.message}</p>
        ) : (
          <p class="soft">Not known.</p>
        )}
      </Card>
      <Notice title="No figures yet.">Drills, snapshots and the budget of calls appear here when the house keeps them.</Notice>
    </div>
  );
}
