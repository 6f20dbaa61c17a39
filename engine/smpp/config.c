/*
 * config.c - what logs in at an SMSC, read and checked
 */
#include <stddef.h>

#include "smpp/smpp_int.h"

enum kind { TEXT, NUMBER, OCTET, WORD };

static const char *const bind_words[] = {"transceiver", "transmitter", "pair", NULL};
static const char *const radix_words[] = {"none", "dec", "hex", NULL};

#define AT(field) offsetof(struct smpp_config, field)
static const struct row {
	const char *name;
	enum kind kind;
	size_t at;
	uint32_t min, max; /* of a number; of a text the most characters */
	const char *const *words;
} rows[] = {
	{"system_id", TEXT, AT(system_id), 0, 15, NULL},
	/* The specification has 8; some accept more, and say themselves when it is too much. */
	{"password", TEXT, AT(password), 0, 64, NULL},
	{"system_type", TEXT, AT(system_type), 0, 12, NULL},
	{"address_range", TEXT, AT(address_range), 0, 40, NULL},
	{"bind", WORD, AT(binds), 0, 0, bind_words},
	{"addr_ton", OCTET, AT(addr_ton), 0, 255, NULL},
	{"addr_npi", OCTET, AT(addr_npi), 0, 255, NULL},
	{"window", NUMBER, AT(window), 1, SMPP_MAX_WINDOW, NULL},
	{"pace", NUMBER, AT(pace), 0, 100000, NULL},
	{"enquire_link", NUMBER, AT(enquire_s), 0, 3600, NULL},
	{"enquire_timeout", NUMBER, AT(enquire_timeout_s), 1, 600, NULL},
	{"bind_timeout", NUMBER, AT(bind_timeout_s), 1, 600, NULL},
	{"rebind", NUMBER, AT(rebind_s), 1, 300, NULL},
	{"id_radix", WORD, AT(id_radix), 0, 0, radix_words},
	{"receipt_radix", WORD, AT(receipt_radix), 0, 0, radix_words},
};

static int read_row(const struct row *r, struct hm_str v, struct smpp_config *c, struct hm_err *e)
{
	char *at = (char *)c + r->at;
	uint64_t n;

	switch (r->kind) {
	case TEXT:
		if (v.len > r->max)
			return hm_err_set(e, HM_ECONFIG, "SMPP: %s is longer than %u characters", r->name,
					  r->max);
		*(struct hm_str *)(void *)at = v;
		return 0;
	case NUMBER:
	case OCTET:
		if (!hm_str_u64(v, &n) || n < r->min || n > r->max)
			return hm_err_set(e, HM_ECONFIG, "SMPP: %s is '%.*s', expected %u to %u", r->name,
					  HM_STRF(v), r->min, r->max);
		if (r->kind == OCTET)
			*(uint8_t *)at = (uint8_t)n;
		else
			*(uint32_t *)(void *)at = (uint32_t)n;
		return 0;
	case WORD: break;
	}
	for (unsigned i = 0; r->words[i]; i++) {
		if (hm_str_is(v, r->words[i])) {
			*(unsigned *)(void *)at = i; /* enums of this file's words */
			return 0;
		}
	}
	return hm_err_set(e, HM_ECONFIG, "SMPP: %s is '%.*s', expected %s, %s or %s", r->name, HM_STRF(v),
			  r->words[0], r->words[1], r->words[2]);
}

static int read_pair(struct hm_str name, struct hm_str v, struct smpp_config *c, struct hm_err *e)
{
	if (v.len == 0)
		return 0;
	if (hm_str_is(name, "default_alphabet")) {
		if (!hm_str_is(v, "gsm") && !hm_str_is(v, "latin1"))
			return hm_err_set(e, HM_ECONFIG,
					  "SMPP: default_alphabet is '%.*s', expected gsm or latin1",
					  HM_STRF(v));
		c->default_alphabet = hm_str_is(v, "gsm") ? SMPP_GSM : SMPP_LATIN1;
		return 0;
	}
	for (size_t i = 0; i < hm_countof(rows); i++)
		if (hm_str_is(name, rows[i].name))
			return read_row(&rows[i], v, c, e);
	return hm_err_set(e, HM_ECONFIG, "SMPP: endpoint.session has no member %.*s", HM_STRF(name));
}

int smpp_config_read(const struct hm_origin_opts *o, struct smpp_config *c, struct hm_err *e)
{
	struct hm_str rest = o->session, name, v;
	int rc;

	_Static_assert(sizeof(enum smpp_radix) == sizeof(unsigned) &&
			       sizeof(enum smpp_binds) == sizeof(unsigned),
		       "words are stored as unsigned");
	*c = (struct smpp_config){
		.window = 10,
		.enquire_s = 30,
		.enquire_timeout_s = 10,
		.bind_timeout_s = 15,
		.rebind_s = 5,
	};
	c->system_id = c->password = c->system_type = c->address_range = HM_STR("");
	while (hm_str_split(&rest, '\0', &name)) {
		if (!hm_str_split(&rest, '\0', &v))
			v = HM_STR("");
		if ((rc = read_pair(name, v, c, e)) < 0)
			return rc;
	}
	if (c->system_id.len == 0)
		return hm_err_set(e, HM_ECONFIG, "SMPP: endpoint.session needs a system_id");
	return 0;
}
