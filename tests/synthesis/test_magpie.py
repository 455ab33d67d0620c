from __future__ import annotations

import pytest

from curation.errors import OperatorError
from curation.language_models.models import Completion
from curation.sample import Message
from synthesis.chat_templates import FAMILIES, opening_from, opening_of
from synthesis.magpie import DOMAINS, Magpie, cleaned
from tests.synthesis.scripted import played


def begin(magpie: Magpie):
    return magpie.own_seeds(1, 0)[0]


def test_the_model_goes_on_where_a_user_would_begin_and_answers_what_it_wrote():
    magpie = Magpie()
    [outcome], calls = played(magpie, begin(magpie), "How do tides come about?", "The moon pulls at the sea.")
    assert calls[0].request.prompt == "<|im_start|>user\n"
    assert calls[0].request.messages == ()
    assert calls[0].request.parameters["stop"] == ["<|im_end|>", "\n"]
    assert calls[1].request.messages == (("user", "How do tides come about?"),)
    assert (calls[0].request.parameters["temperature"], calls[1].request.parameters["temperature"]) == (1.0, 0.0)
    assert [m.content for m in outcome.messages] == ["How do tides come about?", "The moon pulls at the sea."]


@pytest.mark.parametrize(
    "replies, rule",
    [
        ([""], "empty"),
        ([Completion("Tell me a story about", finish_reason="length")], "truncated"),
        (["Translate the following text:"], "format"),
        (["请把下面的句子译成英文："], "format"),
        (["Tell me<|im_end|>"], "template-leak"),
        (["Hi you"], "length"),
        (["How do tides come about?", "I'm sorry, but I can't help with that."], "refusal"),
        (["说出三条河流。", ""], "empty"),
        (["说出三条河流。", "长江、黄河、珠江。"], None),
    ],
)
def test_each_way_to_fail_has_its_rule(replies, rule):
    [outcome], _ = played(Magpie(), begin(Magpie()), *replies)
    assert outcome.rejected_by == rule


def test_beginnings_are_numbered_and_more_of_them_only_add():
    magpie = Magpie(domains="code, chinese", instructions=5)
    five, three = magpie.own_seeds(None, 1), magpie.own_seeds(3, 1)
    assert (len(five), five[:3]) == (5, three)
    assert [s.metadata["domain"] for s in three] == ["code", "chinese", "code"]
    assert len({s.id for s in five + magpie.own_seeds(5, 2)}) == 10
    indices = [played(magpie, s, "")[1][0].request.sample_index for s in five]
    assert indices == [1_000_000, 1_000_001, 1_000_002, 1_000_003, 1_000_004]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_is_a_system_turn_that_is_not_kept(domain):
    magpie = Magpie(domains=domain)
    [outcome], calls = played(magpie, begin(magpie), "How do tides come about?", "The moon.")
    assert calls[0].request.prompt.startswith(
        "<|im_start|>system\nYou " if domain != "chinese" else "<|im_start|>system\n你"
    )
    assert calls[0].request.prompt.endswith("<|im_end|>\n<|im_start|>user\n")
    assert outcome.messages == (Message("user", "How do tides come about?"), Message("assistant", "The moon."))
    assert outcome.metadata["domain"] == domain


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_opens_a_user_turn_without_the_token_that_the_server_adds(family):
    opening = opening_of(family)
    assert "user" in opening.text or "INST" in opening.text
    assert not opening.text.startswith(("<s>", "<bos>", "<|begin_of_text|>"))
    assert opening.stops


def test_qwen_has_its_default_system_turn_and_gemma_none_at_all():
    assert "You are Qwen" in opening_of("qwen-2.5").text
    assert "You are Qwen" not in opening_of("qwen-2.5", "Be brief.").text
    with pytest.raises(OperatorError, match="no system turn"):
        opening_of("gemma", "Be brief.")


LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% generation %}{{ m['content'] }}{% endgeneration %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "<s>[INST] {{ messages[0]['content'] }} [/INST]"
)


def folder_with(template: str | None, tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<s>": 0}, "<s>")), bos_token="<s>"
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_the_opening_comes_from_the_chat_template_of_a_folder(tmp_path):
    folder = folder_with(CHATML, tmp_path)
    assert opening_from(folder) == opening_of("chatml")
    assert opening_from(folder, "Be brief.") == opening_of("chatml", "Be brief.")
    assert Magpie(tokenizer=folder).opening(None).text == "<|im_start|>user\n"


def test_the_token_that_begins_a_sequence_is_left_to_the_server(tmp_path):
    assert opening_from(folder_with(LLAMA, tmp_path)) == opening_of("llama-3")


def test_a_template_without_a_system_turn_or_none_at_all_says_so(tmp_path):
    folder = folder_with(NO_SYSTEM, tmp_path / "a")
    assert (opening_from(folder).text, opening_from(folder).stops) == ("[INST] ", ("[/INST]",))
    with pytest.raises(OperatorError, match="no system turn"):
        opening_from(folder, "Be brief.")
    with pytest.raises(OperatorError, match="no chat template"):
        opening_from(folder_with(None, tmp_path / "b"))
    with pytest.raises(OperatorError, match="no tokenizer"):
        opening_from(tmp_path / "nothing")


def test_where_the_model_goes_on_with_the_answer_the_instruction_ends():
    assert cleaned("What is 2 + 2?assistant\n\n4") == "What is 2 + 2?"
    assert cleaned("Hello there\nAssistant: Hello") == "Hello there"
    assert cleaned("What does a legal assistant do?") == "What does a legal assistant do?"
