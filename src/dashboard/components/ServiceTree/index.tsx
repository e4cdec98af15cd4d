/** Tree of services and their dependencies: state, reason and start time. */
import type { DependencyStatus, ServiceStatus } from "../../api/types";
import { formatExactTime, formatSince } from "../../format";
import { StateBadge } from "../StateBadge";
import "./style.css";

interface Props {
  services: ServiceStatus[];
  trusted: boolean;
  now: number;
}

export function ServiceTree({ services, trusted, now }: Props) {
  return (
    <ul class="service-tree">
      {services.map((one) => (
        <li key={one.name}>
          <ServiceBranch service={one} trusted={trusted} now={now} />
        </li>
      ))}
    </ul>
  );
}

function ServiceBranch({ service, trusted, now }: { service: ServiceStatus; trusted: boolean; now: number }) {
  const state = trusted ? service.state : "unknown";
  const head = (
    <>
      <StateBadge state={state} small />
      <span class="service">
        <span class="service-name">{service.name}</span>
        <span class="small muted">{service.summary}</span>
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
        {service.needs.map((dependency) => (
          <li key={dependency.name} class="dependency">
            <StateBadge state={trusted ? dependency.state : "unknown"} small />
            <span class="service">
              <span>
                {dependency.name.replaceAll("_", " ")}
                {dependency.hard && <span class="small muted"> (required)</span>}
              </span>
              {trusted && dependency.state !== "healthy" && dependency.message && <Reason of={dependency} />}
            </span>
            {trusted && <Since seconds={dependency.since_s} now={now} />}
          </li>
        ))}
      </ul>
    </details>
  );
}

function Reason({ of }: { of: DependencyStatus | ServiceStatus }) {
  return (
    <span class="small reason">
      {of.message} {of.code && <code>{of.code}</code>}
    </span>
  );
}

function Since({ seconds, now }: { seconds: number; now: number }) {
  const ms = seconds * 1000;
  return (
    <time class="small muted since" dateTime={new Date(ms).toISOString()} title={formatExactTime(ms)}>
      {formatSince(ms, now)}
    </time>
  );
}
