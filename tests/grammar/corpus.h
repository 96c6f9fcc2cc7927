/* Schemas and grammars that the tests of grammar/ share: what clients send (the shapes that zod, pydantic and the SDKs
 * write), and one for each kind of place in a table. Each has an answer that it takes. */
#ifndef HEARTH_TESTS_GRAMMAR_CORPUS_H
#define HEARTH_TESTS_GRAMMAR_CORPUS_H

struct corpus_row {
    const char *says, *schema, *answer;
};

static const struct corpus_row CORPUS[] = {
    { "zod object, strict",
      "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\"},"
      "\"email\":{\"type\":[\"string\",\"null\"]}},\"required\":[\"name\",\"age\",\"email\"],\"additionalProperties\":"
      "false,"
      "\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
      "{\"name\":\"Ada\",\"age\":36,\"email\":null}" },
    { "the SDK's steps and answer",
      "{\"type\":\"object\",\"properties\":{\"steps\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
      "\"properties\":{\"explanation\":{\"type\":\"string\"},\"output\":{\"type\":\"string\"}},\"required\":["
      "\"explanation\",\"output\"],"
      "\"additionalProperties\":false}},\"final_answer\":{\"type\":\"string\"}},\"required\":[\"steps\",\"final_"
      "answer\"],"
      "\"additionalProperties\":false}",
      "{\"steps\": [{\"explanation\": \"add\", \"output\": \"4\"}], \"final_answer\": \"4\"}" },
    { "pydantic: $defs, enum, default, title",
      "{\"$defs\":{\"Color\":{\"enum\":[\"red\",\"green\",\"blue\"],\"title\":\"Color\",\"type\":\"string\"},"
      "\"Item\":{\"properties\":{\"color\":{\"$ref\":\"#/$defs/"
      "Color\"},\"count\":{\"default\":1,\"minimum\":0,\"title\":\"Count\",\"type\":\"integer\"},"
      "\"note\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"default\":null}},\"required\":[\"color\"],"
      "\"title\":\"Item\",\"type\":\"object\"}},"
      "\"properties\":{\"items\":{\"items\":{\"$ref\":\"#/$defs/"
      "Item\"},\"title\":\"Items\",\"type\":\"array\"}},\"required\":[\"items\"],"
      "\"title\":\"Order\",\"type\":\"object\"}",
      "{\"items\":[{\"color\":\"red\",\"count\":3,\"note\":null}]}" },
    { "recursive $ref",
      "{\"$ref\":\"#/$defs/"
      "node\",\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"value\":{\"type\":\"number\"},"
      "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
      "node\"},{\"type\":\"null\"}]}},\"required\":[\"value\",\"next\"],\"additionalProperties\":false}}}",
      "{\"value\":1.5,\"next\":{\"value\":-2e3,\"next\":null}}" },
    { "discriminated union",
      "{\"type\":\"object\",\"properties\":{\"shape\":{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{"
      "\"const\":\"circle\"},"
      "\"radius\":{\"type\":\"number\"}},\"required\":[\"kind\",\"radius\"],\"additionalProperties\":false},{\"type\":"
      "\"object\",\"properties\":{\"kind\":"
      "{\"const\":\"square\"},\"side\":{\"type\":\"number\",\"exclusiveMinimum\":0}},\"required\":[\"kind\",\"side\"],"
      "\"additionalProperties\":false}]}},"
      "\"required\":[\"shape\"],\"additionalProperties\":false}",
      "{\"shape\":{\"kind\":\"square\",\"side\":0.5}}" },
    { "oneOf, apart by a constant",
      "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"const\":1},\"x\":{\"type\":\"string\"}},\"required\":["
      "\"t\"]},"
      "{\"type\":\"object\",\"properties\":{\"t\":{\"const\":2},\"y\":{\"type\":\"boolean\"}},\"required\":[\"t\"]}]}",
      "{\"t\":2,\"y\":true}" },
    { "formats",
      "{\"type\":\"object\",\"properties\":{\"when\":{\"type\":\"string\",\"format\":\"date-time\"},\"day\":{\"type\":"
      "\"string\",\"format\":\"date\"},"
      "\"id\":{\"type\":\"string\",\"format\":\"uuid\"},\"mail\":{\"type\":\"string\",\"format\":\"email\"}},"
      "\"required\":[\"when\",\"day\",\"id\",\"mail\"],"
      "\"additionalProperties\":false}",
      "{\"when\":\"2024-02-29T12:00:00Z\",\"day\":\"2023-12-31\",\"id\":\"123e4567-e89b-12d3-a456-426614174000\","
      "\"mail\":\"a.b@example.org\"}" },
    { "numbers in ranges",
      "{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":-10,\"maximum\":250},\"minItems\":2,"
      "\"maxItems\":5}",
      "[-10,250,0]" },
    { "a price", "{\"type\":\"number\",\"minimum\":0,\"maximum\":99.99,\"multipleOf\":0.01}", "19.90" },
    { "lengths", "{\"type\":\"string\",\"minLength\":3,\"maxLength\":40}", "\"\xc3\xa9t\xc3\xa9\"" },
    { "a pattern", "{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-[0-9]{3,5}$\"}", "\"AB-1234\"" },
    { "a pattern anywhere", "{\"type\":\"string\",\"pattern\":\"o.*o\"}", "\"foo bar boo\"" },
    { "a map of numbers",
      "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\"},\"minProperties\":1,\"maxProperties\":4}",
      "{\"a\":1,\"b\":2}" },
    { "names by pattern",
      "{\"type\":\"object\",\"patternProperties\":{\"^x-\":{\"type\":\"string\"},\"^n[0-9]+$\":{\"type\":\"integer\"}},"
      "\"additionalProperties\":false}",
      "{\"x-a\":\"b\",\"n1\":2}" },
    { "propertyNames",
      "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-z]{1,4}$\"},\"additionalProperties\":{\"type\":"
      "\"boolean\"}}",
      "{\"ab\":true}" },
    { "a tuple",
      "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"},{\"enum\":[1,\"two\",null,[3]]"
      "}],\"items\":false,"
      "\"minItems\":2}",
      "[\"a\",1,[3]]" },
    { "contains",
      "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"contains\":{\"minimum\":100},\"minContains\":2,"
      "\"maxContains\":3}",
      "[1,100,200]" },
    { "if, then, else",
      "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"boolean\"},\"b\":{\"type\":\"string\"}},\"required\":["
      "\"a\"],"
      "\"if\":{\"properties\":{\"a\":{\"const\":true}}},\"then\":{\"required\":[\"b\"]},\"additionalProperties\":"
      "false}",
      "{\"a\":true,\"b\":\"\"}" },
    { "anything", "{}", "{\"a\":[1,{\"b\":null},\"c\\n\"],\"d\":-0.5e+3}" },
    { "any object", "{\"type\":\"object\"}", "{\"k\":{}}" },
    { "nested arrays",
      "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}"
      "}}}",
      "[[[1,2],[]],[]]" },
    { "many optional members",
      "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{\"type\":\"null\"},\"d\":{\"type\":\"string\"},"
      "\"e\":{\"enum\":[1,2]},"
      "\"ab\":{},\"abc\":{\"type\":\"boolean\"}},\"required\":[\"d\"],\"additionalProperties\":false}",
      "{\"a\":1,\"d\":\"x\",\"abc\":true}" },
    { "not and bounds", "{\"type\":\"integer\",\"not\":{\"multipleOf\":2},\"minimum\":1}", "7" },
    { "unevaluatedProperties",
      "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}}}],\"properties\":{\"b\":{\"type\":\"integer\"}},"
      "\"unevaluatedProperties\":false,\"type\":\"object\"}",
      "{\"b\":1,\"a\":\"\"}" },
    { "dependentRequired",
      "{\"type\":\"object\",\"properties\":{\"card\":{\"type\":\"integer\"},\"address\":{\"type\":\"string\"}},"
      "\"dependentRequired\":{\"card\":[\"address\"]},\"additionalProperties\":false}",
      "{\"address\":\"x\"}" },
    { "an MCP tool's arguments",
      "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\",\"description\":\"file\"},\"head\":{\"type\":"
      "\"number\"},"
      "\"edits\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"oldText\":{\"type\":\"string\"},"
      "\"newText\":{\"type\":\"string\"}},"
      "\"required\":[\"oldText\",\"newText\"],\"additionalProperties\":false}},\"dryRun\":{\"type\":\"boolean\","
      "\"default\":false}},"
      "\"required\":[\"path\",\"edits\"],\"additionalProperties\":false,\"$schema\":\"http://json-schema.org/draft-07/"
      "schema#\"}",
      "{\"path\":\"a.c\",\"edits\":[]}" },
};
enum { CORPUS_ROWS = sizeof CORPUS / sizeof *CORPUS };

static const struct corpus_row GRAMMARS[] = {
    { "chess moves",
      "root ::= (move \" \" move \"\\n\"){1,3}\nmove ::= (pawn | [NBRQK] [a-h]? [1-8]? \"x\"? [a-h] [1-8] | castle) "
      "[+#]?\n"
      "pawn ::= ([a-h] \"x\")? [a-h] [1-8] (\"=\" [NBRQK])?\ncastle ::= \"O-O\" \"-O\"?",
      "e4 Nf6\n" },
    { "arithmetic, recursive",
      "root ::= expr\nexpr ::= term ([-+*/] term)* # as usual\nterm ::= num | \"(\" expr \")\"\nnum ::= [0-9]+",
      "(1+2)*3" },
    { "JSON in GBNF",
      "root ::= object\nvalue ::= object | array | string | number | (\"true\" | \"false\" | \"null\")\n"
      "object ::= \"{\" ( string \":\" value (\",\" string \":\" value)* )? \"}\"\narray ::= \"[\" ( value (\",\" "
      "value)* )? \"]\"\n"
      "string ::= \"\\\"\" ( [^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}) )* \"\\\"\"\n"
      "number ::= \"-\"? ([0-9] | [1-9] [0-9]{0,15}) (\".\" [0-9]+)?",
      "{\"a\":[1,true,{}]}" },
    { "a list of lines", "root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"",
      "- one\n- two\n" },
    { "Japanese",
      "root ::= jp-char+ ([ \\t\\n] jp-char+)*\njp-char ::= [\\u3041-\\u309F] | [\\u30A1-\\u30FF] | [\\u4E00-\\u9FFF]",
      "\xe3\x81\x82\xe4\xb8\x80" },
    { "ambiguous", "root ::= a a a\na ::= \"x\"* b\nb ::= \"y\"?", "xxyx" },
};
enum { GRAMMAR_ROWS = sizeof GRAMMARS / sizeof *GRAMMARS };

#endif
