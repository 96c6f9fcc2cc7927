/* The formats of JSON Schema (2020-12 Validation, section 7.3) that are regular, each as a pattern that only texts of
 * the format match. Where the format allows more than anybody writes, the pattern is the part that is written: that
 * part is the canonical form (docs/structured.md). */
#include "grammar/string.h"

struct format {
    const char *name, *pattern; /* NULL: can not be enforced */
};

/* RFC 3339: days of each month, leap years of the Gregorian calendar; no leap seconds, capital T and Z. */
#define DATE                                                                                                           \
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"              \
    "02-(?:0[1-9]|1[0-9]|2[0-8]))|"                                                                                    \
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
#define TIME     "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define DUR_TIME "T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S)"
#define DUR_DATE "(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)"
/* RFC 1123 labels; no two hyphens side by side, so nothing that claims to be an A-label (RFC 5891). */
#define LABEL "(?:[A-Za-z0-9]-?){0,31}[A-Za-z0-9]"
#define HOST  LABEL "(?:\\." LABEL "){0,2}"
/* Without a length: a state for each place would be a mask for each place. */
#define WORD  "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
#define WORDS WORD "(?:\\." WORD ")*"
#define ATOM  "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define BYTE  "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define H     "[0-9A-Fa-f]{1,4}"
#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define PATH  "(?:/" PCHAR "*)*(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define URI   "[A-Za-z][A-Za-z0-9+.-]*://" WORDS "(?::[0-9]{1,5})?" PATH

static const struct format FORMATS[] = {
    { "date", "^" DATE "$" },
    { "time", "^" TIME "$" },
    { "date-time", "^" DATE "T" TIME "$" },
    { "duration", "^P(?:" DUR_DATE "(?:" DUR_TIME ")?|" DUR_TIME "|[0-9]{1,9}W)$" },
    { "email", "^" ATOM "(?:\\." ATOM ")*@" WORD "(?:\\." WORD ")+$" },
    { "hostname", "^" HOST "$" },
    { "ipv4", "^" BYTE "(?:\\." BYTE "){3}$" },
    { "ipv6",
      "^(?:" H "(?::" H "){7}|::(?:" H "(?::" H "){0,6})?|" H "::(?:" H "(?::" H "){0,5})?|" H "(?::" H "){1}::(?:" H
      "(?::" H "){0,4})?|" H "(?::" H "){2}::(?:" H "(?::" H "){0,3})?|" H "(?::" H "){3}::(?:" H "(?::" H "){0,2})?|" H
      "(?::" H "){4}::(?:" H "(?::" H "){0,1})?|" H "(?::" H "){5}::(?:" H ")?|" H "(?::" H "){6}::)$" },
    { "uuid", "^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$" },
    { "uri", "^" URI "$" },
    { "uri-reference", "^(?:" URI "|/" PCHAR "+" PATH ")$" },
    { "iri", "^" URI "$" },
    { "iri-reference", "^(?:" URI "|/" PCHAR "+" PATH ")$" },
    { "json-pointer", "^(?:/(?:[^~/]|~[01])*)*$" },
    { "relative-json-pointer", "^(?:0|[1-9][0-9]{0,8})(?:#|(?:/(?:[^~/]|~[01])*)*)$" },
    { "idn-email", "^" ATOM "(?:\\." ATOM ")*@" WORD "(?:\\." WORD ")+$" },
    { "idn-hostname", "^" HOST "$" },
    { "uri-template", NULL },
    { "regex", NULL },
};

view format_pattern(view name, bool *known)
{
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++) {
        if (!view_is(name, FORMATS[i].name)) continue;
        *known = true;
        return FORMATS[i].pattern != NULL ? view_of(FORMATS[i].pattern) : view_of("");
    }
    *known = false;
    return view_of("");
}
