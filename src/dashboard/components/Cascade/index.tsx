/** Every service and what it depends on, as a tree: how it is, why, and since when. */
import type { Need, ServiceNow } from "../../api/types";
import { exact, since } from "../../format";
import { StateMark } from "../StateMark";
import "./style.css";

interface Props {
  services: ServiceNow[];
  trusted: boolean;
  now: number;
}

export function Cascade({ services, trusted, now }: Props) {
  return (
    <ul class="cascade">
      {services.map((one) => (
        <li key={one.name}>
          <Branch service={one} trusted={trusted} now={now} />
        </li>
      ))}
    </ul>
  );
}

function Branch({ service, trusted, now }: { service: ServiceNow; trusted: boolean; now: number }) {
  const state = trusted ? service.state : "unknown";
  const head = (
    <>
      <StateMark state={state} small />
      <span class="service">
        <span class="service-name">{service.name}</span>
        <span class="small soft">{service.summary}</span>
        {trusted && service.state !== "healthy" && service.message && <Reason of={service} />}
      </span>
      {trusted && <Since seconds={service.since_s} now={now} />}
    </>
  );
  if (service.needs.length === 0) return <div class="branch leaf">{head}</div>;
  return (
    <details class="branch" open={trusted && !service.good}>
      <summary>{head}</summary>
      <ul>
        {service.needs.map((need) => (
          <li key={need.name} class="need">
            <StateMark state={trusted ? need.state : "unknown"} small />
            <span class="service">
              <span>
                {need.name.replaceAll("_", " ")}
                {need.hard && <span class="small soft"> (cannot do without)</span>}
              </span>
              {trusted && need.state !== "healthy" && need.message && <Reason of={need} />}
            </span>
            {trusted && <Since seconds={need.since_s} now={now} />}
          </li>
        ))}
      </ul>
    </details>
  );
}

function Reason({ of }: { of: Need | ServiceNow }) {
  return (
    <span class="small reason">
      {of.message} {of.code && <code>{of.code}</code>}
    </span>
  );
}

function Since({ seconds, now }: { seconds: number; now: number }) {
  const ms = seconds * 1000;
  return (
    <time class="small soft since" dateTime={new Date(ms).toISOString()} title={exact(ms)}>
      {since(ms, now)}
    </time>
  );
}
