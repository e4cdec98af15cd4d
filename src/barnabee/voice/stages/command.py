"""Command stage: sends the transcript to the api, and plays a filler while the reply takes long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.clients.api import ApiClient, CommandReply, find_unspoken
from barnabee.core.errors import BadInput, Unavailable
from barnabee.voice.fillers import LatencyEstimator, ModelState
from barnabee.voice.frames import (
    EndOfTurnFrame,
    FillerFrame,
    ReplyFrame,
    ReplyStream,
    TranscriptFrame,
    UserResumedFrame,
)
from barnabee.voice.room_events import Effect

if TYPE_CHECKING:
    from barnabee.clients.gpu import GpuClient
    from barnabee.voice.fillers import FillerSelector
    from barnabee.voice.room_session import RoomSession
    from barnabee.voice.turn import Turn

# Stages after the end of the utterance, with the task of the model that each requires.
REMAINING_STAGES = (("stt", "stt"), ("command", "embed"), ("tts", "tts"))
CLARIFICATION_INTENT = "unsure"  # of a reply that is a clarifying question


class CommandStage(FrameProcessor):
    """Executes commands with the api and selects fillers."""

    def __init__(
        self,
        room: RoomSession,
        api: ApiClient,
        gpu: GpuClient,
        estimator: LatencyEstimator,
        fillers: FillerSelector,
    ) -> None:
        super().__init__(name=f"command-{room.name}")
        self._room, self._api, self._gpu = room, api, gpu
        self._estimator, self._fillers = estimator, fillers
        self._filler_task: asyncio.Task[None] | None = None
        self._models: dict[str, ModelState] = {}
        room.on(Effect.BEGIN_TURN, self._prepare_models)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, EndOfTurnFrame):
            self._filler_task = frame.turn.spawn(self._play_filler(frame.turn))
        elif isinstance(frame, UserResumedFrame):
            if self._filler_task is not None:
                self._filler_task.cancel()
            await self.push_frame(frame)
        elif isinstance(frame, TranscriptFrame):
            frame.turn.spawn(self._run_command(frame.turn, frame.text))
        else:
            await self.push_frame(frame, direction)

    def _prepare_models(self) -> None:
        """Preload the models of the turn while the user is speaking."""
        turn = self._room.turn
        if turn is not None:
            turn.spawn(self._read_models())
            turn.enter_context(lambda: self._gpu.turn(self._room.session))

    async def _read_models(self) -> None:
        self._models = ModelState.from_ledger(await self._gpu.read_vram())

    async def _play_filler(self, turn: Turn) -> None:
        stages = REMAINING_STAGES[1:] if "transcript" in turn.marks else REMAINING_STAGES
        estimate_ms = self._estimator.estimate_rest_ms(stages, self._models)
        turn.log_fields["estimate_ms"] = estimate_ms
        clip = self._fillers.select_filler("answer", estimate_ms)
        if clip is None:
            return
        await asyncio.sleep(self._filler_delay_s(turn))
        if not self._is_reply_imminent(turn):
            turn.log_fields["filler"] = clip.name
            await self.push_frame(FillerFrame(turn, clip.pcm))

    def _filler_delay_s(self, turn: Turn) -> float:
        """Return the time until a filler is due, less the time already spent on endpointing."""
        talk = self._room.talk
        waited_s = turn.stages_s().get("vad", 0.0) - talk.pause_ms / 1000
        spent_s = max(0.0, waited_s) if "transcript" in turn.marks else 0.0
        return max(0.0, talk.filler_after_ms / 1000 - spent_s)

    def _is_reply_imminent(self, turn: Turn) -> bool:
        """Return whether the reply is playing, or is there and quickly synthesized."""
        if "command_reply" not in turn.marks:
            return "reply_audio" in turn.marks
        return "reply_audio" in turn.marks or (
            self._estimator.estimate_stage_ms("tts") < self._fillers.limits.none_below_ms
        )

    async def _run_command(self, turn: Turn, text: str) -> None:
        started_s = turn.clock()
        more, spoken = ReplyStream(), list[str]()

        async def speak(sentence: str) -> None:
            turn.mark("command_reply")
            spoken.append(sentence)
            turn.reply = " ".join(spoken)
            if len(spoken) == 1:
                await self.push_frame(ReplyFrame(turn, sentence, more=more))
            else:
                more.add(sentence)

        try:
            answer = await self._api.command(
                text, self._room.session, room=self._room.name, on_sentence=speak
            )
        except (Unavailable, BadInput) as error:
            self._room.report_failure(error, turn)
            if spoken:
                more.finish(trouble="api_failed")
            else:
                await self.push_frame(ReplyFrame(turn, trouble="api_failed"))
            return
        turn.mark("command_reply")
        took_ms = (turn.marks["command_reply"] - started_s) * 1000
        self._estimator.add_sample("command", took_ms, answer.intent)
        self._report_reply(turn, answer)
        rest, has_acted = find_unspoken(answer.reply, spoken), bool(answer.actions)
        if spoken:
            more.add(rest)
            more.finish(has_acted=has_acted)
        else:
            await self._play_question_filler(turn, answer)
            await self.push_frame(ReplyFrame(turn, rest, has_acted=has_acted))

    def _report_reply(self, turn: Turn, answer: CommandReply) -> None:
        turn.reply = answer.reply
        turn.log_fields |= {"intent": answer.intent, "degraded": answer.degraded}
        turn.log_fields["api_ms"] = answer.latency_ms
        self._room.send_message(
            "reply",
            text=answer.reply,
            intent=answer.intent,
            actions=answer.actions,
            degraded=answer.degraded,
            code=answer.code,
            trace_id=turn.trace_id,
        )

    async def _play_question_filler(self, turn: Turn, answer: CommandReply) -> None:
        if answer.intent != CLARIFICATION_INTENT or "filler" in turn.log_fields:
            return
        clip = self._fillers.select_filler("ask", 0)
        if clip is not None:
            turn.log_fields["filler"] = clip.name
            await self.push_frame(FillerFrame(turn, clip.pcm, is_uninterruptible=True))
