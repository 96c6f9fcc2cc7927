/* The conventions, a row each, and their scripts. A new model is a row and a case in tests/template/reply.c. */
#include "template/reply_family.h"

#include <assert.h>

const struct reply_family REPLY_FAMILIES[] = {
    { .name = "hermes",
      .think_open = "<think>",
      .think_close = "</think>",
      .call = "<tool_call>%w%o%w</tool_call>",
      .name_key = "name",
      .args_key = "arguments",
      .ends = "<|im_end|>\n<|end_of_text|>\n<|endoftext|>" },
    { .name = "qwen3-coder",
      .think_open = "<think>",
      .think_close = "</think>",
      .section_open = "<tool_call>",
      .section_close = "</tool_call>",
      .call = "<function=%n>%w%p</function>",
      .param = "<parameter=%k>%v</parameter>",
      .ends = "<|im_end|>\n<|endoftext|>",
      .flags = FAMILY_THINK_TO_CALL | FAMILY_VALUE_LINES },
    { .name = "seed",
      .think_open = "<seed:think>",
      .think_close = "</seed:think>",
      .section_open = "<seed:tool_call>",
      .section_close = "</seed:tool_call>",
      .call = "<function=%n>%w%p</function>",
      .param = "<parameter=%k>%v</parameter>",
      .ends = "<seed:eos>" },
    { .name = "glm",
      .think_open = "<think>",
      .think_close = "</think>",
      .call = "<tool_call>%n%w%p</tool_call>",
      .param = "<arg_key>%k</arg_key>%w<arg_value>%v</arg_value>",
      .ends = "<|observation|>\n<|user|>\n<|endoftext|>\n</assistant>" },
    { .name = "minimax-m2",
      .think_open = "<think>",
      .think_close = "</think>",
      .section_open = "<minimax:tool_call>",
      .section_close = "</minimax:tool_call>",
      .call = "<invoke name=\"%n\">%w%p</invoke>",
      .param = "<parameter name=\"%k\">%v</parameter>",
      .ends = "[e~[" },
    { .name = "deepseek-v4",
      .think_open = "<think>",
      .think_close = "</think>",
      .section_open = "<｜DSML｜tool_calls>",
      .section_close = "</｜DSML｜tool_calls>",
      .call = "<｜DSML｜invoke name=\"%n\">%w%p</｜DSML｜invoke>",
      .param = "<｜DSML｜parameter name=\"%k\" string=\"%s\">%v</｜DSML｜parameter>",
      .ends = "<｜end▁of▁sentence｜>" },
    { .name = "deepseek-v3.2",
      .think_open = "<think>",
      .think_close = "</think>",
      .section_open = "<｜DSML｜function_calls>",
      .section_close = "</｜DSML｜function_calls>",
      .call = "<｜DSML｜invoke name=\"%n\">%w%p</｜DSML｜invoke>",
      .param = "<｜DSML｜parameter name=\"%k\" string=\"%s\">%v</｜DSML｜parameter>",
      .ends = "<｜end▁of▁sentence｜>" },
    { .name = "minicpm5",
      .think_open = "<think>",
      .think_close = "</think>",
      .call = "<function name=\"%n\">%w%p</function>",
      .param = "<param name=\"%k\">%v</param>",
      .ends = "<|im_end|>" },
    { .name = "deepseek-r1",
      .think_open = "<think>",
      .think_close = "</think>",
      .section_open = "<｜tool▁calls▁begin｜>",
      .section_close = "<｜tool▁calls▁end｜>",
      .call = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>%n\n```json%w%j%w```%w<｜tool▁call▁end｜>",
      .ends = "<｜end▁of▁sentence｜>" },
    { .name = "deepseek-v3.1",
      .think_open = "<think>",
      .think_close = "</think>",
      .section_open = "<｜tool▁calls▁begin｜>",
      .section_close = "<｜tool▁calls▁end｜>",
      .call = "<｜tool▁call▁begin｜>%n<｜tool▁sep｜>%w%j%w<｜tool▁call▁end｜>",
      .ends = "<｜end▁of▁sentence｜>" },
    { .name = "kimi-k2",
      .think_open = "<think>",
      .think_close = "</think>",
      .section_open = "<|tool_calls_section_begin|>",
      .section_close = "<|tool_calls_section_end|>",
      .call = "<|tool_call_begin|>functions.%n:%d<|tool_call_argument_begin|>%w%j%w<|tool_call_end|>",
      .ends = "<|im_end|>" },
    { .name = "mistral-args",
      .think_open = "[THINK]",
      .think_close = "[/THINK]",
      .call = "[TOOL_CALLS]%n[ARGS]%w%j",
      .ends = "</s>" },
    { .name = "mistral-call-id",
      .think_open = "[THINK]",
      .think_close = "[/THINK]",
      .call = "[TOOL_CALLS]%n[CALL_ID]%i[ARGS]%w%j",
      .ends = "</s>" },
    { .name = "mistral-nemo", .call = "[TOOL_CALLS]%w%a", .name_key = "name", .args_key = "arguments", .ends = "</s>" },
    { .name = "llama3",
      .call = "%o",
      .name_key = "name",
      .args_key = "parameters",
      .ends = "<|eot_id|>\n<|eom_id|>",
      .flags = FAMILY_BARE },
    { .name = "functionary", .call = "<function=%n>%w%j%w</function>", .ends = "<|eot_id|>\n<|eom_id|>" },
    { .name = "command-r7b",
      .think_open = "<|START_THINKING|>",
      .think_close = "<|END_THINKING|>",
      .call = "<|START_ACTION|>%w%a%w<|END_ACTION|>",
      .name_key = "tool_name",
      .args_key = "parameters",
      .ignored = "<|START_RESPONSE|>\n<|END_RESPONSE|>\n<|START_TEXT|>\n<|END_TEXT|>",
      .ends = "<|END_OF_TURN_TOKEN|>" },
    { .name = "command-r",
      .call = "Action:%w```json%w%a%w```",
      .name_key = "tool_name",
      .args_key = "parameters",
      .ends = "<|END_OF_TURN_TOKEN|>" },
    { .name = "apertus",
      .think_open = "<|inner_prefix|>",
      .think_close = "<|inner_suffix|>",
      .call = "<|tools_prefix|>%w%a%w<|tools_suffix|>",
      .ends = "<|assistant_end|>" },
    { .name = "gemma4",
      .think_open = "<|channel>thought\n",
      .think_close = "<channel|>",
      .call = "<|tool_call>call:%n%g<tool_call|>",
      .ignored = "<channel|>",
      .ends = "<turn|>\n<|tool_response>" },
    { .name = "lfm2",
      .think_open = "<think>",
      .think_close = "</think>",
      .call = "<|tool_call_start|>%w%y%w<|tool_call_end|>",
      .ends = "<|im_end|>" },
    { .name = "toolcall-array",
      .think_open = "<think>",
      .think_close = "</think>",
      .call = "<TOOLCALL>%w%a%w</TOOLCALL>",
      .name_key = "name",
      .args_key = "arguments",
      .ends = "<SPECIAL_12>" },
    { .name = "apriel",
      .think_open = "Here are my reasoning steps:\n",
      .think_close = "[BEGIN FINAL RESPONSE]",
      .call = "<tool_calls>%w%a%w</tool_calls>",
      .name_key = "name",
      .args_key = "arguments",
      .ends = "<|end|>" },
    { .name = "granite-array",
      .think_open = "<think>",
      .think_close = "</think>",
      .call = "<|tool_call|>%w%a",
      .name_key = "name",
      .args_key = "arguments",
      .ignored = "<response>\n</response>",
      .ends = "<|end_of_text|>" },
    { .name = "gigachat",
      .call = "<|function_call|>%w%o",
      .name_key = "name",
      .args_key = "arguments",
      .ends = "<|message_sep|>" },
    { .name = "gigachat3",
      .call = "<|message_sep|>\n\nfunction call<|role_sep|>%w%o",
      .name_key = "name",
      .args_key = "arguments",
      .ends = "<|message_sep|>" },
    { .name = "solar",
      .think_open = "<|think|>",
      .think_close = "<|end|>",
      .section_open = "<|tool_calls|>",
      .section_close = "<|calls|>",
      .call = "<|tool_call:begin|>%i<|tool_call:name|>%n<|tool_call:args|>%w%j%w<|tool_call:end|>",
      .ignored = "<|content|>\n<|end|>\n<|begin|>assistant",
      .ends = "<|flush|>" },
    { .name = "harmony", .call = "%w%j", .ends = "<|return|>", .flags = FAMILY_HARMONY },
    { .name = "firefunction",
      .call = "functools%w%a",
      .name_key = "name",
      .args_key = "arguments",
      .ends = "<|eot_id|>" },
    { .name = "plain-think",
      .think_open = "<think>",
      .think_close = "</think>",
      .ends = "<｜end▁of▁sentence｜>\n<|im_end|>" },
};

const size_t REPLY_FAMILY_COUNT = sizeof REPLY_FAMILIES / sizeof *REPLY_FAMILIES;

const struct reply_family *reply_family_named(view name)
{
    for (size_t i = 0; i < REPLY_FAMILY_COUNT; i++)
        if (view_is(name, REPLY_FAMILIES[i].name)) return &REPLY_FAMILIES[i];
    return NULL;
}

const char *reply_family_name(const struct reply_family *f)
{
    return f->name;
}

/* Sets a bit for each byte of `text` that is part of a control token's text in it. */
struct literal reply_literal(view text, const struct reply_setup *setup)
{
    struct literal l = { text, 0 };
    assert(text.len_bytes > 0 && text.len_bytes <= REPLY_MARKER_MAX);
    for (size_t i = 0; i < setup->control_count; i++) {
        view token = setup->control[i];
        for (size_t at = 0; token.len_bytes > 0 && at + token.len_bytes <= text.len_bytes; at++) {
            if (memcmp(text.ptr + at, token.ptr, token.len_bytes) != 0) continue;
            for (size_t j = 0; j < token.len_bytes; j++) l.control |= UINT64_C(1) << (at + j);
        }
    }
    return l;
}

void reply_script(const char *script, const struct reply_setup *setup, struct part out[static PARTS_MAX])
{
    static const struct {
        char mark;
        enum part_kind kind;
    } marks[] = { { 'w', PART_BLANKS }, { 'n', PART_NAME },   { 'i', PART_ID },    { 'd', PART_DIGITS },
                  { 'j', PART_JSON },   { 'o', PART_OBJECT }, { 'a', PART_ARRAY }, { 'p', PART_PARAMS },
                  { 'k', PART_KEY },    { 'v', PART_VALUE },  { 's', PART_FLAG },  { 'g', PART_GEMMA },
                  { 'y', PART_PYTHON } };
    size_t n = 0;
    for (const char *at = script == NULL ? "" : script; *at != '\0'; n++) {
        assert(n + 1 < PARTS_MAX);
        out[n] = (struct part){ PART_LITERAL, { { NULL, 0 }, 0 } };
        if (*at == '%') {
            for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
                if (marks[i].mark == at[1]) out[n].kind = marks[i].kind;
            assert(out[n].kind != PART_LITERAL);
            at += 2;
        } else {
            size_t len = strcspn(at, "%");
            out[n].literal = reply_literal((view){ (const uint8_t *)at, len }, setup);
            at += len;
        }
    }
    out[n] = (struct part){ PART_END, { { NULL, 0 }, 0 } };
}
