"""Rewards that check an answer against what is known of the right one."""

from __future__ import annotations

from training.rewards.reward import Answer, Question, Reward

CODE_SECONDS = 10.0
CODE_MEMORY_MB = 512


def final_answer(question: Question, answer: Answer) -> Reward:
    r"""1 where the answer ends in the expected final answer (as a number, else as a text), else 0.

    Source: outcome rewards by rule, DeepSeek-AI 2025, DeepSeek-R1, arXiv:2501.12948, section 2.2.2 (accuracy rewards).

    Differs from the source: `####`, `\boxed{}`, `the answer is` and a last number all count, in English and Chinese,
    so that a model need not be taught a layout before it can be right.
    """
    from curation.texts.final_answers import final_answers, same_answer

    if question.reference is None:
        return Reward(None, "no final answer is known")
    found = final_answers(answer.text)
    return Reward(float(any(same_answer(one, question.reference) for one in found)))


def code_tests(question: Question, answer: Answer) -> Reward:
    """1 where the answer's Python passes all tests, else 0; run locked down, see `curation.texts.code_running`.

    Source: unit tests as a reward, Le et al. 2022, CodeRL, arXiv:2207.01780; DeepSeek-R1, arXiv:2501.12948.

    Differs from the source: no partial reward for code that runs or passes some tests, which is easily collected by
    code that does nothing. What this machine can't decide (a missing module) is null, not wrong.
    """
    from curation.texts.code_answers import program_of
    from curation.texts.code_running import NOT_STARTED, UNDECIDED, run_code

    if not question.tests:
        return Reward(None, "no tests are known")
    program = program_of(question.instruction, answer.text, question.entry_point)
    if program.source is None:
        return Reward(0.0, program.reason)
    outcome = run_code(program.source, question.tests, seconds=CODE_SECONDS, memory_mb=CODE_MEMORY_MB)
    if outcome.error_kind in (*UNDECIDED, NOT_STARTED):
        return Reward(None, f"the code could not be run here: {outcome.detail}")
    return Reward(float(outcome.passed), outcome.detail)


def format_kept(question: Question, answer: Answer) -> Reward:
    """Share of the constraints on the form that the instruction sets and the answer keeps, 0..1; none for no answer.

    Source: verifiable instructions, Zhou et al. 2023, IFEval, arXiv:2311.07911; as rewards: Lambert et al. 2024,
    Tulu 3, arXiv:2411.15124, section 6.

    Differs from the source: constraints are read from any instruction, English or Chinese, not from a list of types.
    """
    from curation.texts.instruction_constraints import constraints_in

    constraints = constraints_in(question.instruction)
    if not constraints:
        return Reward(None, "the instruction sets no constraint that can be read")
    if not answer.text.strip():
        return Reward(0.0, "the answer is empty")
    broken = [constraint.name for constraint in constraints if not constraint.kept(answer.text)]
    return Reward(1 - len(broken) / len(constraints), "; ".join(broken))
