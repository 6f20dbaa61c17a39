/*
 * receipt.c - texts of delivery receipts, and the ids in them
 */
#include "smpp/receipt.h"

#include <stddef.h>
#include <stdio.h>

static const struct key {
	const char *name;
	size_t at; /* in struct smpp_receipt */
} keys[] = {
	{"id:", offsetof(struct smpp_receipt, id)},
	{"sub:", offsetof(struct smpp_receipt, sub)},
	{"dlvrd:", offsetof(struct smpp_receipt, dlvrd)},
	{"submit date:", offsetof(struct smpp_receipt, submit_date)},
	{"done date:", offsetof(struct smpp_receipt, done_date)},
	{"stat:", offsetof(struct smpp_receipt, stat)},
	{"err:", offsetof(struct smpp_receipt, err)},
	{"text:", offsetof(struct smpp_receipt, text)},
};

static bool blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n' || ch == '\0';
}

static const struct key *key_at(struct hm_str s)
{
	for (size_t k = 0; k < hm_countof(keys); k++) {
		struct hm_str name = hm_str_c(keys[k].name);

		if (s.len >= name.len && hm_str_ieq(hm_str_n(s.p, name.len), name))
			return &keys[k];
	}
	return NULL;
}

/* Where the next name begins, which is at the start of a word; the length when there is none. */
static size_t next_key(struct hm_str s, size_t from, const struct key **key_r)
{
	for (size_t i = from; i < s.len; i++) {
		if (i && !blank(s.p[i - 1]))
			continue;
		*key_r = key_at(hm_str_n(s.p + i, s.len - i));
		if (*key_r)
			return i;
	}
	*key_r = NULL;
	return s.len;
}

static struct hm_str trimmed(struct hm_str s)
{
	while (s.len && blank(s.p[s.len - 1]))
		s.len--;
	while (s.len && blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	return s;
}

bool smpp_receipt_read(struct hm_str text, struct smpp_receipt *r)
{
	const struct key *key, *after;
	size_t at = next_key(text, 0, &key);

	memset(r, 0, sizeof(*r));
	while (key) {
		size_t from = at + strlen(key->name), to = text.len;
		struct hm_str *v = (struct hm_str *)(void *)((char *)r + key->at);

		after = NULL;
		if (v != &r->text)
			to = next_key(text, from, &after);
		if (v->len == 0)
			*v = trimmed(hm_str_n(text.p + from, to - from));
		at = to;
		key = after;
	}
	return r->id.len > 0 && r->stat.len > 0;
}

const char *smpp_state_name(int state)
{
	static const char *const names[] = {"SCHEDLD", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED",
					    "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD", "SKIPPED"};

	return state >= 0 && (size_t)state < hm_countof(names) ? names[state] : NULL;
}

static int digit_of(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f')
		return (ch | 0x20) - 'a' + 10;
	return 99;
}

static bool number_in(struct hm_str id, unsigned base, uint64_t *v_r)
{
	uint64_t v = 0;

	if (id.len == 0)
		return false;
	for (size_t i = 0; i < id.len; i++) {
		uint64_t d = (uint64_t)digit_of(id.p[i]);

		if (d >= base || v > (UINT64_MAX - d) / base)
			return false;
		v = v * base + d;
	}
	*v_r = v;
	return true;
}

struct hm_str smpp_id_canonical(struct hm_str id, enum smpp_radix radix, char *out)
{
	size_t n = 0;
	uint64_t v;

	id = trimmed(id);
	if (radix != SMPP_RADIX_NONE && number_in(id, radix == SMPP_RADIX_HEX ? 16 : 10, &v))
		return hm_str_n(out, (size_t)snprintf(out, SMPP_ID_CAP, "%llu", (unsigned long long)v));
	for (size_t i = 0; i < id.len && n < SMPP_ID_CAP - 1; i++)
		if ((uint8_t)id.p[i] > 0x20 && (uint8_t)id.p[i] < 0x7f && id.p[i] != ',')
			out[n++] = id.p[i];
	return hm_str_n(out, n);
}
