/* The rows of every pre-tokenizer, and the names it goes by. Beside each pass stands the author's expression.
 *
 * Names are those of `tokenizer.ggml.pre`. A name that is not here is refused rather than guessed: a wrong cut gives
 * ids that look fine and are not those the model was trained with. */
#include "text/split_rules.h"

/* clang-format off */
/* '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const struct rule GPT2_RULES[] = {
    { match_contraction, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, BLANK, LETTER, MANY, NOTHING, 0 },
    { match_run, BLANK, NUMBER, MANY, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)
 * |\s+ */
static const struct rule LLAMA3_RULES[] = {
    { match_contraction_i, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOT_RLN, LETTER, MANY, NOTHING, 0 },
    { match_run, NOTHING, NUMBER, 3, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NEWLINE, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* As llama-bpe with \p{N}. (bailingmoe too: its possessive prefixes share nothing with what follows, and \s*[\r\n]
 * takes as much as \s*[\r\n]+.) */
static const struct rule QWEN2_RULES[] = {
    { match_contraction_i, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOT_RLN, LETTER, MANY, NOTHING, 0 },
    { match_run, NOTHING, NUMBER, 1, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NEWLINE, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* As qwen2 with [\p{L}\p{M}]+ and [^\s\p{L}\p{M}\p{N}]+ */
static const struct rule QWEN35_RULES[] = {
    { match_contraction_i, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOT_RLN, LETTER_OR_MARK, MANY, NOTHING, 0 },
    { match_run, NOTHING, NUMBER, 1, NOTHING, 0 },
    { match_run, BLANK, NOT_SLMN, MANY, NEWLINE, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* As qwen2 with  ?[^\s\p{L}\p{N}\r\n]+ and nothing behind it */
static const struct rule SEED_RULES[] = {
    { match_contraction_i, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOT_RLN, LETTER, MANY, NOTHING, 0 },
    { match_run, NOTHING, NUMBER, 1, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NOTHING, 0 },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* As qwen2 with [^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ and  ?[^\s\p{L}\p{N}]+[\r\n/]? */
static const struct rule EXAONE_MOE_RULES[] = {
    { match_contraction_i, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_phrase, NOT_RLN, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, NUMBER, 1, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NEWLINE_OR_SLASH, 1 },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* As llama-bpe with \p{N}+, behind a pass of \p{N}{1,3} */
static const struct rule MINICPM5_RULES[] = {
    { match_contraction_i, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOT_RLN, LETTER, MANY, NOTHING, 0 },
    { match_run, NOTHING, NUMBER, MANY, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NEWLINE, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
 * |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
 * |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const struct rule GPT4O_RULES[] = {
    { match_cased_low, NOT_RLN, UPPER, MANY, LOWER, MANY },
    { match_cased_up, NOT_RLN, UPPER, MANY, LOWER, MANY },
    { match_run, NOTHING, NUMBER, 3, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NEWLINE_OR_SLASH, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* As gpt-4o with \p{N} and without contractions */
static const struct rule TEKKEN_RULES[] = {
    { match_cased_low, NOT_RLN, UPPER, 0, LOWER, MANY },
    { match_cased_up, NOT_RLN, UPPER, 0, LOWER, MANY },
    { match_run, NOTHING, NUMBER, 1, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NEWLINE_OR_SLASH, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* [\p{Han}]+, then as gpt-4o with &&[^\p{Han}] in the classes of letters and [\r\n]* behind signs */
static const struct rule KIMI_RULES[] = {
    { match_run, NOTHING, HAN, MANY, NOTHING, 0 },
    { match_cased_low, NOT_RLN, UPPER_NOT_HAN, MANY, LOWER_NOT_HAN, MANY },
    { match_cased_up, NOT_RLN, UPPER_NOT_HAN, MANY, LOWER_NOT_HAN, MANY },
    { match_run, NOTHING, NUMBER, 3, NOTHING, 0 },
    { match_run, BLANK, NOT_SLN, MANY, NEWLINE, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

/* [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static const struct rule DEEPSEEK_V3_RULES[] = {
    { match_led, ASCII_PUNCT, ASCII_LETTER, MANY, NOTHING, 0 },
    { match_run, NOT_RLPS, LETTER_OR_MARK, MANY, NOTHING, 0 },
    { match_run, BLANK, PUNCT_OR_SYMBOL, MANY, NEWLINE, MANY },
    { match_to_newline, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_before_word, NOTHING, NOTHING, 0, NOTHING, 0 },
    { match_run, NOTHING, SPACE, MANY, NOTHING, 0 },
};

static const struct rule NUMBER_RULES[] = { { match_run, NOTHING, NUMBER, 1, NOTHING, 0 } };       /* \p{N} */
static const struct rule NUMBERS_RULES[] = { { match_run, NOTHING, NUMBER, MANY, NOTHING, 0 } };   /* \p{N}+ */
static const struct rule NUMBERS_3_RULES[] = { { match_run, NOTHING, NUMBER, 3, NOTHING, 0 } };    /* \p{N}{1,3} */
static const struct rule DIGITS_3_RULES[] = { { match_exactly, NOTHING, ASCII_DIGIT, 3, NOTHING, 0 } }; /* [0-9]{3} */
static const struct rule NEWLINE_RULES[] = { { match_run, NOTHING, NEWLINE, 1, NOTHING, 0 } };     /* [\r\n] */
static const struct rule SP_LETTERS_RULES[] = { { match_run, SPACE, LETTER, MANY, NOTHING, 0 } };  /* \s?\p{L}+ */
static const struct rule SP_PUNCT_RULES[] = { { match_run, SPACE, PUNCTUATION, MANY, NOTHING, 0 } }; /* \s?\p{P}+ */
static const struct rule SP_OWN_1_RULES[] = { { match_run, SPACE, OWN_1, MANY, NOTHING, 0 } };
static const struct rule SP_OWN_2_RULES[] = { { match_run, SPACE, OWN_2, MANY, NOTHING, 0 } };
static const struct rule OWN_1_RULES[] = { { match_run, NOTHING, OWN_1, MANY, NOTHING, 0 } };
static const struct rule OWN_3_RULES[] = { { match_run, NOTHING, OWN_3, MANY, NOTHING, 0 } };
static const struct rule PUNCT_OWN_1_RULES[] = { { match_run, NOTHING, PUNCT_OR_OWN_1, MANY, NOTHING, 0 } };
static const struct rule BL_NOT_OWN_1_RULES[] = { { match_run, BLANK, NOT_OWN_1, MANY, NOTHING, 0 } };
static const struct rule SENTINEL_RULES[] = { { match_sentinel, NOTHING, NOTHING, 0, NOTHING, 0 } };
static const struct rule IMAGE_RULES[] = { { match_image, NOTHING, NOTHING, 0, NOTHING, 0 } };
/* [\t\n]|    |   */
static const struct rule INDENT_RULES[] = {
    { match_run, NOTHING, TAB_OR_LF, 1, NOTHING, 0 },
    { match_blanks, NOTHING, NOTHING, 0, NOTHING, 0 },
};
/* [\p{P}!-/:-@\[-`{-~] */
static const struct rule PUNCT_1_RULES[] = { { match_run, NOTHING, PUNCT_OR_ASCII, 1, NOTHING, 0 } };

#define PASS(rules) { rules, sizeof(rules) / sizeof *(rules), NULL }
static const struct pass GPT2 = PASS(GPT2_RULES), LLAMA3 = PASS(LLAMA3_RULES), QWEN2 = PASS(QWEN2_RULES),
    QWEN35 = PASS(QWEN35_RULES), SEED = PASS(SEED_RULES), EXAONE_MOE = PASS(EXAONE_MOE_RULES),
    MINICPM5 = PASS(MINICPM5_RULES), GPT4O = PASS(GPT4O_RULES), TEKKEN = PASS(TEKKEN_RULES), KIMI = PASS(KIMI_RULES),
    DEEPSEEK_V3 = PASS(DEEPSEEK_V3_RULES), EACH_NUMBER = PASS(NUMBER_RULES), NUMBERS = PASS(NUMBERS_RULES),
    NUMBERS_3 = PASS(NUMBERS_3_RULES), DIGITS_3 = PASS(DIGITS_3_RULES), EACH_NEWLINE = PASS(NEWLINE_RULES),
    SP_LETTERS = PASS(SP_LETTERS_RULES), SP_PUNCT = PASS(SP_PUNCT_RULES), SP_OWN_1 = PASS(SP_OWN_1_RULES),
    SP_OWN_2 = PASS(SP_OWN_2_RULES), RUN_OWN_1 = PASS(OWN_1_RULES), RUN_OWN_3 = PASS(OWN_3_RULES),
    PUNCT_OWN_1 = PASS(PUNCT_OWN_1_RULES), BL_NOT_OWN_1 = PASS(BL_NOT_OWN_1_RULES), SENTINEL = PASS(SENTINEL_RULES),
    IMAGE = PASS(IMAGE_RULES), INDENT = PASS(INDENT_RULES), EACH_PUNCT = PASS(PUNCT_1_RULES),
    DIGITS_FROM_RIGHT = { .cut = cut_digits_from_right }, SPACE_AT_END = { .cut = cut_space_at_end };
#undef PASS

static const struct code_range DEEPSEEK_V3_RANGES[] = { /* [一-龥぀-ゟ゠-ヿ] */
    { 0x3040, 0x30FF, IS_OWN_1 }, { 0x4E00, 0x9FA5, IS_OWN_1 },
};
static const struct code_range DEEPSEEK_CODER_RANGES[] = { /* [一-龥ࠀ-一가-퟿] */
    { 0x800, 0x9FA5, IS_OWN_3 }, { 0xAC00, 0xD7FF, IS_OWN_3 },
};
/* [\p{P}\$\+<=>\^~\|`] and, for "default", without the last */
static const struct code_range FALCON_RANGES[] = {
    { '$', '$', IS_OWN_1 }, { '+', '+', IS_OWN_1 }, { '<', '>', IS_OWN_1 }, { '^', '^', IS_OWN_1 },
    { '`', '`', IS_OWN_1 }, { '|', '|', IS_OWN_1 }, { '~', '~', IS_OWN_1 },
};
static const struct code_range DEFAULT_RANGES[] = {
    { '$', '$', IS_OWN_1 }, { '+', '+', IS_OWN_1 }, { '<', '>', IS_OWN_1 }, { '^', '^', IS_OWN_1 },
    { '|', '|', IS_OWN_1 }, { '~', '~', IS_OWN_1 },
};
/* [(\s|.,!?…。，、।۔،)]: what words do not hold. \s is written out (White_Space), for a class has one list here. */
static const struct code_range BLOOM_RANGES[] = {
    { 9, 13, IS_OWN_1 }, { ' ', '!', IS_OWN_1 }, { '(', ')', IS_OWN_1 }, { ',', ',', IS_OWN_1 },
    { '.', '.', IS_OWN_1 }, { '?', '?', IS_OWN_1 }, { '|', '|', IS_OWN_1 }, { 0x85, 0x85, IS_OWN_1 },
    { 0xA0, 0xA0, IS_OWN_1 }, { 0x60C, 0x60C, IS_OWN_1 }, { 0x6D4, 0x6D4, IS_OWN_1 }, { 0x964, 0x964, IS_OWN_1 },
    { 0x1680, 0x1680, IS_OWN_1 }, { 0x2000, 0x200A, IS_OWN_1 }, { 0x2026, 0x2026, IS_OWN_1 },
    { 0x2028, 0x2029, IS_OWN_1 }, { 0x202F, 0x202F, IS_OWN_1 }, { 0x205F, 0x205F, IS_OWN_1 },
    { 0x3000, 0x3002, IS_OWN_1 }, { 0xFF0C, 0xFF0C, IS_OWN_1 },
};
/* The letters and signs that deepseek-llm's file writes out, and deepseek-coder's ideographs. */
static const struct code_range DEEPSEEK_LLM_RANGES[] = {
    { 0x41, 0x5A, IS_OWN_1 }, { 0x61, 0x7A, IS_OWN_1 }, { 0xB5, 0xB5, IS_OWN_1 }, { 0xC0, 0xD6, IS_OWN_1 },
    { 0xD8, 0xF6, IS_OWN_1 }, { 0xF8, 0x1BA, IS_OWN_1 }, { 0x1BC, 0x1BF, IS_OWN_1 }, { 0x1C4, 0x293, IS_OWN_1 },
    { 0x295, 0x2AF, IS_OWN_1 }, { 0x370, 0x373, IS_OWN_1 }, { 0x376, 0x377, IS_OWN_1 }, { 0x37B, 0x37D, IS_OWN_1 },
    { 0x37F, 0x37F, IS_OWN_1 }, { 0x386, 0x386, IS_OWN_1 }, { 0x388, 0x38A, IS_OWN_1 }, { 0x38C, 0x38C, IS_OWN_1 },
    { 0x38E, 0x3A1, IS_OWN_1 }, { 0x3A3, 0x3F5, IS_OWN_1 }, { 0x3F7, 0x481, IS_OWN_1 }, { 0x48A, 0x52F, IS_OWN_1 },
    { 0x531, 0x556, IS_OWN_1 }, { 0x10A0, 0x10C5, IS_OWN_1 }, { 0x13A0, 0x13F5, IS_OWN_1 },
    { 0x13F8, 0x13FD, IS_OWN_1 }, { 0x1C90, 0x1CBA, IS_OWN_1 }, { 0x1CBD, 0x1CBF, IS_OWN_1 },
    { 0x1D00, 0x1D2B, IS_OWN_1 }, { 0x1D6B, 0x1D77, IS_OWN_1 }, { 0x1D79, 0x1D9A, IS_OWN_1 },
    { 0x1E00, 0x1F15, IS_OWN_1 }, { 0x1F18, 0x1F1D, IS_OWN_1 }, { 0x1F20, 0x1F45, IS_OWN_1 },
    { 0x1F48, 0x1F4D, IS_OWN_1 }, { 0x1F50, 0x1F57, IS_OWN_1 }, { 0x1F59, 0x1F59, IS_OWN_1 },
    { 0x1F5B, 0x1F5B, IS_OWN_1 }, { 0x1F5D, 0x1F5D, IS_OWN_1 }, { 0x1F5F, 0x1F7D, IS_OWN_1 },
    { 0x1F80, 0x1FB4, IS_OWN_1 }, { 0x1FB6, 0x1FBC, IS_OWN_1 }, { 0x1FBE, 0x1FBE, IS_OWN_1 },
    { 0x1FC2, 0x1FC4, IS_OWN_1 }, { 0x1FC6, 0x1FCC, IS_OWN_1 }, { 0x1FD0, 0x1FD3, IS_OWN_1 },
    { 0x1FD6, 0x1FDB, IS_OWN_1 }, { 0x1FE0, 0x1FEC, IS_OWN_1 }, { 0x1FF2, 0x1FF4, IS_OWN_1 },
    { 0x1FF6, 0x1FFC, IS_OWN_1 }, { 0x2102, 0x2102, IS_OWN_1 }, { 0x2107, 0x2107, IS_OWN_1 },
    { 0x210A, 0x2113, IS_OWN_1 }, { 0x2115, 0x2115, IS_OWN_1 }, { 0x2119, 0x211D, IS_OWN_1 },
    { 0x2124, 0x2124, IS_OWN_1 }, { 0x2126, 0x2126, IS_OWN_1 }, { 0x2128, 0x2128, IS_OWN_1 },
    { 0x212A, 0x212D, IS_OWN_1 }, { 0x212F, 0x2134, IS_OWN_1 }, { 0x2139, 0x2139, IS_OWN_1 },
    { 0x213C, 0x213F, IS_OWN_1 }, { 0x2145, 0x2149, IS_OWN_1 }, { 0x214E, 0x214E, IS_OWN_1 },
    { 0x2183, 0x2184, IS_OWN_1 }, { 0x2C00, 0x2C7B, IS_OWN_1 }, { 0x2C7E, 0x2CE4, IS_OWN_1 },
    { 0x2CEB, 0x2CEE, IS_OWN_1 }, { 0x2CF2, 0x2CF3, IS_OWN_1 }, { 0xA640, 0xA66D, IS_OWN_1 },
    { 0xA680, 0xA69B, IS_OWN_1 }, { 0xA722, 0xA76F, IS_OWN_1 }, { 0xA771, 0xA787, IS_OWN_1 },
    { 0xA78B, 0xA78E, IS_OWN_1 }, { 0xAB70, 0xABBF, IS_OWN_1 }, { 0xFB00, 0xFB06, IS_OWN_1 },
    { 0xFB13, 0xFB17, IS_OWN_1 }, { 0xFF21, 0xFF3A, IS_OWN_1 }, { 0xFF41, 0xFF5A, IS_OWN_1 },
    { 0x10400, 0x1044F, IS_OWN_1 }, { 0x104B0, 0x104D3, IS_OWN_1 }, { 0x104D8, 0x104FB, IS_OWN_1 },
    { 0x10C80, 0x10CB2, IS_OWN_1 }, { 0x10CC0, 0x10CF2, IS_OWN_1 }, { 0x118A0, 0x118DF, IS_OWN_1 },
    { 0x1E900, 0x1E943, IS_OWN_1 }, { 0x21, 0x2F, IS_OWN_2 }, { 0x3A, 0x7E, IS_OWN_2 }, { 0x2018, 0x201F, IS_OWN_2 },
    { 0x3000, 0x3002, IS_OWN_2 }, { 0xFF01, 0xFF0F, IS_OWN_2 }, { 0xFF1A, 0xFF5E, IS_OWN_2 },
    { 0x800, 0x9FA5, IS_OWN_3 }, { 0xAC00, 0xD7FF, IS_OWN_3 },
};

#define RANGES(r) (r), sizeof(r) / sizeof *(r)
static const splitter S_DEFAULT = { { &PUNCT_OWN_1, &GPT2, &NUMBERS, &DIGITS_3 }, RANGES(DEFAULT_RANGES) },
    S_GPT2 = { { &GPT2 }, NULL, 0 }, S_LLAMA3 = { { &LLAMA3 }, NULL, 0 }, S_QWEN2 = { { &QWEN2 }, NULL, 0 },
    S_QWEN35 = { { &QWEN35 }, NULL, 0 }, S_SEED = { { &SEED }, NULL, 0 },
    S_EXAONE_MOE = { { &EXAONE_MOE }, NULL, 0 }, S_MINICPM5 = { { &NUMBERS_3, &MINICPM5 }, NULL, 0 },
    S_GPT4O = { { &GPT4O }, NULL, 0 }, S_TEKKEN = { { &TEKKEN }, NULL, 0 }, S_KIMI = { { &KIMI }, NULL, 0 },
    S_TINY_AYA = { { &DIGITS_FROM_RIGHT, &GPT4O }, NULL, 0 }, S_SMOLLM = { { &EACH_NUMBER, &GPT2 }, NULL, 0 },
    S_DEEPSEEK_V3 = { { &NUMBERS_3, &RUN_OWN_1, &DEEPSEEK_V3 }, RANGES(DEEPSEEK_V3_RANGES) },
    S_DEEPSEEK_CODER = { { &EACH_NEWLINE, &SP_LETTERS, &SP_PUNCT, &RUN_OWN_3, &EACH_NUMBER },
                         RANGES(DEEPSEEK_CODER_RANGES) },
    S_DEEPSEEK_LLM = { { &EACH_NEWLINE, &SP_OWN_1, &SP_OWN_2, &SPACE_AT_END, &RUN_OWN_3, &NUMBERS },
                       RANGES(DEEPSEEK_LLM_RANGES) },
    S_FALCON = { { &PUNCT_OWN_1, &GPT2, &DIGITS_3 }, RANGES(FALCON_RANGES) },
    S_BLOOM = { { &BL_NOT_OWN_1 }, RANGES(BLOOM_RANGES) },
    S_VIKING = { { &BL_NOT_OWN_1, &EACH_NUMBER }, RANGES(BLOOM_RANGES) },
    S_CHAMELEON = { { &SENTINEL, &IMAGE, &INDENT, &EACH_NUMBER, &EACH_PUNCT, &GPT2 }, NULL, 0 };
#undef RANGES

static const struct splitter_name NAMES[] = {
    /* name            splitter        NFC    ignore_merges  BOS */
    { "default",          &S_DEFAULT,        false, false, false },
    { "gpt-2",            &S_GPT2,           false, false, false },
    { "gpt2",             &S_GPT2,           false, false, false },
    { "phi-2",            &S_GPT2,           false, false, false },
    { "jina-es",          &S_GPT2,           false, false, false },
    { "jina-de",          &S_GPT2,           false, false, false },
    { "jina-v1-en",       &S_GPT2,           false, false, false },
    { "jina-v2-es",       &S_GPT2,           false, false, false },
    { "jina-v2-de",       &S_GPT2,           false, false, false },
    { "jina-v2-code",     &S_GPT2,           false, false, false },
    { "roberta-bpe",      &S_GPT2,           false, false, false },
    { "mpt",              &S_GPT2,           true,  false, false },
    { "olmo",             &S_GPT2,           true,  false, false },
    { "gpt-neox",         &S_GPT2,           true,  false, false },
    { "jais",             &S_GPT2,           false, false, false },
    { "gigachat",         &S_GPT2,           false, false, false },
    { "exaone4",          &S_GPT2,           false, false, false },
    { "mellum",           &S_GPT2,           false, false, false },
    { "modern-bert",      &S_GPT2,           false, false, false },
    { "a.x-4.0",          &S_GPT2,           false, false, false },
    { "trillion",         &S_GPT2,           false, false, false },
    { "granite-docling",  &S_GPT2,           false, false, false },
    { "llama-bpe",        &S_LLAMA3,         false, true,  true  },
    { "llama3",           &S_LLAMA3,         false, true,  true  },
    { "llama-v3",         &S_LLAMA3,         false, true,  true  },
    { "falcon3",          &S_LLAMA3,         false, true,  true  },
    { "falcon-h1",        &S_LLAMA3,         false, true,  true  },
    { "pixtral",          &S_LLAMA3,         false, true,  true  },
    { "midm-2.0",         &S_LLAMA3,         false, true,  true  },
    { "lfm2",             &S_LLAMA3,         false, true,  true  },
    { "dbrx",             &S_LLAMA3,         false, false, false },
    { "smaug-bpe",        &S_LLAMA3,         false, false, false },
    { "glm4",             &S_LLAMA3,         false, false, false },
    { "chatglm-bpe",      &S_LLAMA3,         false, false, false },
    { "qwen2",            &S_QWEN2,          true,  false, false },
    { "deepseek-r1-qwen", &S_QWEN2,          true,  false, false },
    { "stablelm2",        &S_QWEN2,          true,  false, false },
    { "hunyuan",          &S_QWEN2,          false, false, false },
    { "solar-open",       &S_QWEN2,          false, false, false },
    { "grok-2",           &S_QWEN2,          false, false, false },
    { "megrez",           &S_QWEN2,          false, false, false },
    { "bailingmoe",       &S_QWEN2,          false, false, false },
    { "bailingmoe2",      &S_QWEN2,          false, false, false },
    { "llada-moe",        &S_QWEN2,          false, false, false },
    { "qwen35",           &S_QWEN35,         true,  false, false },
    { "seed-coder",       &S_SEED,           false, false, false },
    { "exaone-moe",       &S_EXAONE_MOE,     false, false, false },
    { "minicpm5",         &S_MINICPM5,       false, false, false },
    { "gpt-4o",           &S_GPT4O,          false, true,  false },
    { "llama4",           &S_GPT4O,          false, true,  true  },
    { "kanana2",          &S_GPT4O,          false, true,  false },
    { "minimax-m2",       &S_GPT4O,          false, true,  false },
    { "tekken",           &S_TEKKEN,         false, true,  true  },
    { "kimi-k2",          &S_KIMI,           false, false, false },
    { "tiny_aya",         &S_TINY_AYA,       false, false, false },
    { "cohere2moe",       &S_TINY_AYA,       false, false, false },
    { "smollm",           &S_SMOLLM,         false, false, false },
    { "starcoder",        &S_SMOLLM,         false, false, false },
    { "refact",           &S_SMOLLM,         false, false, false },
    { "codeshell",        &S_SMOLLM,         false, false, false },
    { "exaone",           &S_SMOLLM,         false, false, false },
    { "minerva-7b",       &S_SMOLLM,         false, false, false },
    { "mellum2",          &S_SMOLLM,         false, false, false },
    { "command-r",        &S_SMOLLM,         true,  false, false },
    { "deepseek-v3",      &S_DEEPSEEK_V3,    false, false, false },
    { "hunyuan-dense",    &S_DEEPSEEK_V3,    false, false, false },
    { "joyai-llm",        &S_DEEPSEEK_V3,    false, false, false },
    { "deepseek-coder",   &S_DEEPSEEK_CODER, false, false, false },
    { "deepseek-llm",     &S_DEEPSEEK_LLM,   false, false, false },
    { "falcon",           &S_FALCON,         false, false, false },
    { "bloom",            &S_BLOOM,          false, false, false },
    { "poro-chat",        &S_BLOOM,          false, false, false },
    { "gpt3-finnish",     &S_BLOOM,          false, false, false },
    { "viking",           &S_VIKING,         false, false, false },
    { "chameleon",        &S_CHAMELEON,      false, false, true  },
};
/* clang-format on */

const struct splitter_name *splitter_find(view name)
{
    if (name.len_bytes == 0) return &NAMES[0];
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (view_is(name, NAMES[i].name)) return &NAMES[i];
    return NULL;
}
