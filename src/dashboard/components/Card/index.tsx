/** Titled section of a view. */
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import "./style.css";

interface Props {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}

export function Card({ title, aside, children, class: extra = "" }: Props) {
  const id = useId();
  return (
    <section class={`card ${extra}`} aria-labelledby={id}>
      <header class="card-header">
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}
