/** What the language model is, and what it receives. */
import type { LanguageModelInfo } from "../../api/types";
import { Card } from "../../components/Card";

const SENT: Record<string, string> = {
  sentence: "what was said",
  time: "the time",
  history: "the conversation",
  home: "names of devices",
  room: "the room",
  speaker: "the speaker's name",
  results: "answers of skills",
};

export function LanguageModelCard({ model }: { model: LanguageModelInfo | null | undefined }) {
  if (!model) {
    return null;
  }
  return (
    <Card title="Language model">
      <p>
        {model.model} at {model.server}
      </p>
      <p class="small muted">
        It receives {model.sent.map((kind) => SENT[kind] ?? kind).join(", ")}
        {model.rooms.length > 0 && `; only in: ${model.rooms.join(", ")}`}.
      </p>
    </Card>
  );
}
