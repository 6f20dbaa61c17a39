/*
 * job.c - the queue contract, decoded
 *
 * JOB_KEYS is the contract: one row per key, grouped by length so that finding a
 * key compares at most five texts. Each row names a reader; a reader takes the
 * value, checks it and stores it in the spec. That texts are UTF-8 and that depth and
 * sizes are sane has been proven by hm_msgpack_decode before.
 */
#include "ingest/job.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/tz.h"

struct reading {
	struct hm_job_spec *spec;
	struct hm_err *e;
	const char *key; /* top-level key being read, for error texts */
	int64_t index;	 /* within it, or -1 */
	bool api;
	bool has_to, has_rs;
	uint32_t seen; /* rows of JOB_KEYS */
};

/* -- errors ------------------------------------------------------------------ */

/* Fails with "rs[3].addr: <sentence>" and the same path as err->field. */
static int bad(struct reading *r, int code, const char *sub, const char *sentence)
{
	char path[96];
	int n;

	n = snprintf(path, sizeof(path), "%s", r->key);
	if (r->index >= 0 && n > 0 && (size_t)n < sizeof(path))
		n += snprintf(path + n, sizeof(path) - (size_t)n, "[%lld]", (long long)r->index);
	if (sub && n > 0 && (size_t)n < sizeof(path))
		(void)snprintf(path + n, sizeof(path) - (size_t)n, ".%s", sub);
	hm_err_set(r->e, code, "%s: %s", path, sentence);
	hm_err_field(r->e, path);
	return code;
}

static int bad_type(struct reading *r, const char *sub, const char *expected, const msgpack_object *o)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "must be %s, not %s", expected, hm_mp_type_name(o));
	return bad(r, HM_ETYPE, sub, text);
}

static int bad_length(struct reading *r, const char *sub, size_t max)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "is longer than %zu bytes", max);
	return bad(r, HM_EINVAL, sub, text);
}

/* A key that is not in the list, cut so that a hostile one cannot fill the log. */
static int bad_key(struct reading *r, const char *in, struct hm_str key, const char *const *known)
{
	const char *near = hm_str_nearest(key, known);
	char path[96];
	size_t cut = hm_utf8_cut(key, 40);
	int n;

	n = snprintf(path, sizeof(path), "%s", in ? in : "");
	if (in && r->index >= 0 && n > 0 && (size_t)n < sizeof(path))
		n += snprintf(path + n, sizeof(path) - (size_t)n, "[%lld]", (long long)r->index);
	if (n >= 0 && (size_t)n < sizeof(path))
		(void)snprintf(path + n, sizeof(path) - (size_t)n, "%s%.*s", in ? "." : "", (int)cut, key.p);
	if (near)
		hm_err_set(r->e, HM_EINVAL, "%s: unknown key, did you mean \"%s\"?", path, near);
	else
		hm_err_set(r->e, HM_EINVAL, "%s: unknown key", path);
	hm_err_field(r->e, path);
	return HM_EINVAL;
}

/* -- texts ------------------------------------------------------------------- */

static bool has_control(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = (uint8_t)s.p[i];

		if (c < 0x20 || c == 0x7f)
			return true;
	}
	return false;
}

/* A short text without control characters. */
static int read_text(struct reading *r, const char *sub, const msgpack_object *o, size_t max,
		     struct hm_str *out)
{
	if (o->type != MSGPACK_OBJECT_STR)
		return bad_type(r, sub, "a string", o);
	if (o->via.str.size > max)
		return bad_length(r, sub, max);
	*out = hm_str_n(o->via.str.ptr, o->via.str.size);
	if (has_control(*out))
		return bad(r, HM_EINVAL, sub, "holds a control character");
	return 0;
}

/* A tree of user data: keys are texts, and the only extension is a decimal. */
static int check_tree(struct reading *r, const char *sub, const msgpack_object *o)
{
	int rc;

	switch (o->type) {
	case MSGPACK_OBJECT_ARRAY:
		for (uint32_t i = 0; i < o->via.array.size; i++) {
			rc = check_tree(r, sub, &o->via.array.ptr[i]);
			if (rc)
				return rc;
		}
		return 0;
	case MSGPACK_OBJECT_MAP:
		for (uint32_t i = 0; i < o->via.map.size; i++) {
			const msgpack_object_kv *kv = &o->via.map.ptr[i];

			if (kv->key.type != MSGPACK_OBJECT_STR)
				return bad(r, HM_ETYPE, sub, "holds a map whose keys are not texts");
			rc = check_tree(r, sub, &kv->val);
			if (rc)
				return rc;
		}
		return 0;
	case MSGPACK_OBJECT_EXT:
		if (o->via.ext.type != HM_MP_DECIMAL)
			return bad(r, HM_ETYPE, sub, "holds a msgpack extension other than 1 (decimal text)");
		return 0;
	default: return 0;
	}
}

static int check_map(struct reading *r, const char *sub, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_MAP)
		return bad_type(r, sub, "a map", o);
	return check_tree(r, sub, o);
}

/* -- readers, one per row of JOB_KEYS ---------------------------------------- */

static int read_version(struct reading *r, const msgpack_object *o)
{
	uint64_t v;

	if (!hm_mp_u64(o, &v))
		return bad_type(r, NULL, "the number 1", o);
	if (v != 1)
		return bad(r, HM_EINVAL, NULL, "this Hermod knows contract version 1 only");
	return 0;
}

static int read_id(struct reading *r, const msgpack_object *o)
{
	struct hm_str s;

	if (o->type == MSGPACK_OBJECT_BIN && o->via.bin.size == sizeof(r->spec->id.b)) {
		memcpy(r->spec->id.b, o->via.bin.ptr, sizeof(r->spec->id.b));
	} else if (o->type == MSGPACK_OBJECT_STR) {
		s = hm_str_n(o->via.str.ptr, o->via.str.size);
		if (!hm_ulid_parse(s, &r->spec->id))
			return bad(r, HM_EINVAL, NULL, "must be a ULID: 26 characters of Crockford base32");
	} else {
		return bad_type(r, NULL, "a ULID (26 characters, or 16 bytes of bin)", o);
	}
	r->spec->has_id = true;
	return 0;
}

static int read_channel(struct reading *r, const msgpack_object *o)
{
	return read_text(r, NULL, o, HM_JOB_MAX_NAME, &r->spec->channel);
}

static int read_route(struct reading *r, const msgpack_object *o)
{
	return read_text(r, NULL, o, HM_JOB_MAX_NAME, &r->spec->route);
}

static int read_template(struct reading *r, const msgpack_object *o)
{
	return read_text(r, NULL, o, HM_JOB_MAX_NAME, &r->spec->template_ref);
}

static int read_campaign(struct reading *r, const msgpack_object *o)
{
	return read_text(r, NULL, o, HM_JOB_MAX_LABEL, &r->spec->campaign);
}

static int read_category(struct reading *r, const msgpack_object *o)
{
	return read_text(r, NULL, o, HM_JOB_MAX_LABEL, &r->spec->category);
}

static int read_tenant(struct reading *r, const msgpack_object *o)
{
	return read_text(r, NULL, o, HM_JOB_MAX_LABEL, &r->spec->tenant);
}

static int read_dedupe(struct reading *r, const msgpack_object *o)
{
	return read_text(r, NULL, o, HM_JOB_MAX_DEDUPE, &r->spec->dedupe);
}

/* Buttons: a list of {text, url | action, style}. */
static int check_button(struct reading *r, uint32_t at, const msgpack_object *o)
{
	static const char *const known[] = {"text", "url", "action", "style", NULL};
	char sub[48];
	bool have[hm_countof(known)] = {false};

	snprintf(sub, sizeof(sub), "buttons[%u]", at);
	if (o->type != MSGPACK_OBJECT_MAP)
		return bad_type(r, sub, "a map with text and url or action", o);
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];
		struct hm_str key;
		size_t k = 0;

		if (!hm_mp_str(&kv->key, &key))
			return bad(r, HM_ETYPE, sub, "its keys must be texts");
		while (known[k] && !hm_str_is(key, known[k]))
			k++;
		if (!known[k])
			return bad(r, HM_EINVAL, sub,
				   "has an unknown key; a button has text, url or action, and style");
		if (kv->val.type == MSGPACK_OBJECT_NIL)
			continue;
		snprintf(sub, sizeof(sub), "buttons[%u].%s", at, known[k]);
		if (kv->val.type != MSGPACK_OBJECT_STR)
			return bad_type(r, sub, "a string", &kv->val);
		if (kv->val.via.str.size == 0)
			return bad(r, HM_EINVAL, sub, "is empty");
		have[k] = true;
		snprintf(sub, sizeof(sub), "buttons[%u]", at);
	}
	if (!have[0])
		return bad(r, HM_EINVAL, sub, "text is missing");
	if (have[1] == have[2])
		return bad(r, HM_EINVAL, sub, "needs exactly one of url and action");
	return 0;
}

_Static_assert(HM_JOB_MAX_BUTTONS == 12, "the sentence below");
static int check_buttons(struct reading *r, const msgpack_object *o)
{
	int rc = 0;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return bad_type(r, "buttons", "a list of {text, url} or {text, action}", o);
	if (o->via.array.size > HM_JOB_MAX_BUTTONS)
		return bad(r, HM_ELIMIT, "buttons", "has more than 12 members");
	for (uint32_t i = 0; i < o->via.array.size && rc == 0; i++)
		rc = check_button(r, i, &o->via.array.ptr[i]);
	return rc;
}

static int check_format(struct reading *r, const msgpack_object *o)
{
	struct hm_str s;
	int rc = read_text(r, "format", o, HM_JOB_MAX_LABEL, &s);

	if (rc || hm_str_is(s, "plain") || hm_str_is(s, "markdown") || hm_str_is(s, "html"))
		return rc;
	return bad(r, HM_EINVAL, "format", "must be plain, markdown or html");
}

static int read_content(struct reading *r, const msgpack_object *o)
{
	static const char *const known[] = {"title", "body",	"url",	   "image",  "short",
					    "data",  "options", "buttons", "format", NULL};
	bool something = false;

	if (o->type != MSGPACK_OBJECT_MAP)
		return bad_type(r, NULL, "a map", o);
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];
		struct hm_str key;
		size_t k = 0;
		int rc;

		if (!hm_mp_str(&kv->key, &key))
			return bad(r, HM_ETYPE, NULL, "its keys must be texts");
		while (known[k] && !hm_str_is(key, known[k]))
			k++;
		if (!known[k])
			return bad_key(r, "content", key, known);
		if (kv->val.type == MSGPACK_OBJECT_NIL)
			continue;
		if (k < 5)
			rc = kv->val.type == MSGPACK_OBJECT_STR ? 0
								: bad_type(r, known[k], "a string", &kv->val);
		else if (k < 7)
			rc = check_map(r, known[k], &kv->val);
		else
			rc = k == 7 ? check_buttons(r, &kv->val) : check_format(r, &kv->val);
		if (rc)
			return rc;
		something |= k < 6; /* options, buttons and format alone say nothing */
	}
	if (!something)
		return bad(r, HM_EINVAL, NULL,
			   "has nothing to send: give title, body, short, url, image or data");
	r->spec->content = o;
	return 0;
}

static int read_render(struct reading *r, const msgpack_object *o)
{
	if (!hm_mp_bool(o, &r->spec->render))
		return bad_type(r, NULL, "true or false", o);
	return 0;
}

static int read_caps(struct reading *r, const msgpack_object *o)
{
	static const char *const known[] = {"bypass", "count", NULL};

	if (o->type != MSGPACK_OBJECT_MAP)
		return bad_type(r, NULL, "a map with bypass and count", o);
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];
		struct hm_str key;
		bool v;

		if (!hm_mp_str(&kv->key, &key))
			return bad(r, HM_ETYPE, NULL, "its keys must be texts");
		if (!hm_str_is(key, known[0]) && !hm_str_is(key, known[1]))
			return bad_key(r, "caps", key, known);
		if (kv->val.type == MSGPACK_OBJECT_NIL)
			continue;
		if (!hm_mp_bool(&kv->val, &v))
			return bad_type(r, hm_str_is(key, known[0]) ? known[0] : known[1], "true or false",
					&kv->val);
		if (hm_str_is(key, known[0]))
			r->spec->bypass_caps = v;
		else
			r->spec->uncounted = !v;
	}
	return 0;
}

static int read_data(struct reading *r, const msgpack_object *o)
{
	r->spec->data = o;
	return check_map(r, NULL, o);
}

static int read_tags(struct reading *r, const msgpack_object *o)
{
	struct hm_str tag;
	int rc = 0;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return bad_type(r, NULL, "an array of strings", o);
	if (o->via.array.size > HM_JOB_MAX_TAGS)
		return bad(r, HM_EINVAL, NULL, "has more than 16 tags");
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		r->index = i;
		rc = read_text(r, NULL, &o->via.array.ptr[i], HM_JOB_MAX_LABEL, &tag);
		if (rc == 0 && tag.len == 0)
			rc = bad(r, HM_EINVAL, NULL, "is empty");
		if (rc)
			return rc;
	}
	r->index = -1;
	r->spec->tags = o;
	return 0;
}

/* Milliseconds; in the API also RFC 3339. A value that can only be seconds is refused: it would mean 1970. */
static int read_time(struct reading *r, const msgpack_object *o, uint64_t *out)
{
	if (r->api && o->type == MSGPACK_OBJECT_STR) {
		if (!hm_clock_parse_rfc3339(hm_str_n(o->via.str.ptr, o->via.str.size), out))
			return bad(
				r, HM_EINVAL, NULL,
				"must be milliseconds of Unix time or RFC 3339, like 2026-01-02T03:04:05Z");
		return 0;
	}
	if (!hm_mp_u64(o, out))
		return bad_type(r, NULL,
				r->api ? "milliseconds of Unix time or an RFC 3339 text"
				       : "milliseconds of Unix time",
				o);
	if (*out != 0 && *out < 100000000000u)
		return bad(r, HM_EINVAL, NULL, "must be milliseconds of Unix time; this looks like seconds");
	if (*out > (UINT64_C(1) << 48) - 1)
		return bad(r, HM_EINVAL, NULL, "is too far in the future to be milliseconds of Unix time");
	return 0;
}

static int read_at(struct reading *r, const msgpack_object *o)
{
	return read_time(r, o, &r->spec->at_ms);
}

static int read_expires(struct reading *r, const msgpack_object *o)
{
	return read_time(r, o, &r->spec->expires_ms);
}

static const char *const local_past[] = {"now", "skip", "next_day", NULL};

const char *hm_local_past_name(enum hm_local_past p)
{
	return local_past[p];
}

/* n digits at s[at]. */
static bool digits(struct hm_str s, size_t at, size_t n, int *v_r)
{
	*v_r = 0;
	if (at + n > s.len)
		return false;
	for (size_t i = at; i < at + n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		*v_r = *v_r * 10 + (s.p[i] - '0');
	}
	return true;
}

/* "2026-12-01T09:00" or "2026-12-01T09:00:30"; a blank may stand for the T. */
static bool parse_local(struct hm_str s, int64_t *local_s)
{
	struct hm_civil c = {0}, back;
	int year;

	if ((s.len != 16 && s.len != 19) || !digits(s, 0, 4, &year) || s.p[4] != '-' ||
	    !digits(s, 5, 2, &c.month) || s.p[7] != '-' || !digits(s, 8, 2, &c.day) ||
	    (s.p[10] != 'T' && s.p[10] != ' ') || !digits(s, 11, 2, &c.hour) || s.p[13] != ':' ||
	    !digits(s, 14, 2, &c.minute))
		return false;
	if (s.len == 19 && (s.p[16] != ':' || !digits(s, 17, 2, &c.second)))
		return false;
	c.year = year;
	if (year < 1973 || c.month < 1 || c.month > 12)
		return false;
	*local_s = hm_civil_seconds(c);
	back = hm_civil_of(*local_s);
	return back.month == c.month && back.day == c.day && back.hour == c.hour && back.minute == c.minute &&
	       back.second == c.second; /* no 30 February, no 25:00 */
}

static int read_at_local(struct reading *r, const msgpack_object *o)
{
	int rc = read_text(r, NULL, o, 19, &r->spec->at_local);

	if (rc || r->spec->at_local.len == 0)
		return rc;
	if (!parse_local(r->spec->at_local, &r->spec->local_s))
		return bad(r, HM_EINVAL, NULL,
			   "must be a date and time without a zone, like 2026-12-01T09:00");
	return 0;
}

static int read_local_past(struct reading *r, const msgpack_object *o)
{
	struct hm_str s;
	int rc = read_text(r, NULL, o, HM_JOB_MAX_LABEL, &s);

	if (rc || s.len == 0)
		return rc;
	for (int i = 0; local_past[i] != NULL; i++)
		if (hm_str_is(s, local_past[i])) {
			r->spec->local_past = (enum hm_local_past)i;
			return 0;
		}
	return bad(r, HM_EINVAL, NULL, "must be now, skip or next_day");
}

static int read_over(struct reading *r, const msgpack_object *o)
{
	uint64_t ms;

	if (r->api && o->type == MSGPACK_OBJECT_STR) {
		if (!hm_str_duration_ms(hm_str_n(o->via.str.ptr, o->via.str.size), &ms))
			return bad(r, HM_EINVAL, NULL, "must be a duration like 30m or 2h");
	} else if (!hm_mp_u64(o, &ms)) {
		return bad_type(r, NULL, r->api ? "a duration like \"2h\", or milliseconds" : "milliseconds",
				o);
	}
	if (ms > HM_JOB_MAX_OVER)
		return bad(r, HM_EINVAL, NULL, "is longer than 7 days");
	r->spec->over_ms = ms;
	return 0;
}

static int read_acc(struct reading *r, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size < HM_JOB_ACC_BOOT ||
	    o->via.bin.size > HM_JOB_ACC_MAX)
		return bad(r, HM_ETYPE, NULL,
			   "must be 8 bytes of bin and a node's name; only Hermod writes it");
	r->spec->acc = hm_str_n(o->via.bin.ptr, o->via.bin.size);
	return 0;
}

static int read_of(struct reading *r, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != sizeof(struct hm_ulid))
		return bad(r, HM_ETYPE, NULL, "must be 16 bytes of bin; only Hermod writes it");
	r->spec->of = hm_str_n(o->via.bin.ptr, o->via.bin.size);
	return 0;
}

static int read_count(struct reading *r, const msgpack_object *o, uint64_t max, uint32_t *out)
{
	uint64_t v;

	if (!hm_mp_u64(o, &v))
		return bad_type(r, NULL, "a number; only Hermod writes it", o);
	if (v > max)
		return bad(r, HM_EINVAL, NULL, "is out of range; only Hermod writes it");
	*out = (uint32_t)v;
	return 0;
}

static int read_n0(struct reading *r, const msgpack_object *o)
{
	return read_count(r, o, HM_JOB_MAX_RECIPIENTS - 1, &r->spec->n0);
}

static int read_att(struct reading *r, const msgpack_object *o)
{
	return read_count(r, o, 1000, &r->spec->attempts);
}

#define MINE "only Hermod writes it"

static int read_res(struct reading *r, const msgpack_object *o)
{
	struct hm_job_resume *res = &r->spec->res;
	bool has_job = false;

	if (o->type != MSGPACK_OBJECT_MAP)
		return bad_type(r, NULL, "a map; " MINE, o);
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object *v = &o->via.map.ptr[i].val;
		struct hm_str k;
		bool ok = true;
		int rc = 0;

		if (!hm_mp_str(&o->via.map.ptr[i].key, &k))
			return bad(r, HM_ETYPE, NULL, "its keys must be texts; " MINE);
		if (hm_str_is(k, "job")) {
			ok = has_job = v->type == MSGPACK_OBJECT_BIN && v->via.bin.size == sizeof(res->job.b);
			if (ok)
				memcpy(res->job.b, v->via.bin.ptr, sizeof(res->job.b));
		} else if (hm_str_is(k, "t")) {
			ok = hm_mp_u64(v, &res->accepted_ms);
		} else if (hm_str_is(k, "hop")) {
			rc = read_count(r, v, UINT32_MAX / 2, &res->hop);
		} else if (hm_str_is(k, "held")) {
			ok = hm_mp_bool(v, &res->held);
		} else if (hm_str_is(k, "sent")) {
			ok = hm_mp_bool(v, &res->sent);
		} else if (hm_str_is(k, "catt")) {
			rc = read_count(r, v, 1000, &res->chan_attempts);
		} else if (hm_str_is(k, "pos")) {
			rc = read_count(r, v, 1000, &res->pos);
		} else if (hm_str_is(k, "parts")) {
			rc = read_count(r, v, 250, &res->parts);
		} else if (hm_str_is(k, "chan")) {
			rc = read_text(r, "chan", v, HM_JOB_MAX_NAME, &res->chan);
		} else if (hm_str_is(k, "route")) {
			rc = read_text(r, "route", v, HM_JOB_MAX_NAME, &res->route);
		} else {
			return bad(r, HM_EINVAL, NULL, "holds a key nobody knows; " MINE);
		}
		if (rc)
			return rc;
		if (!ok)
			return bad(r, HM_ETYPE, NULL, "holds a value of a wrong type; " MINE);
	}
	if (!has_job)
		return bad(r, HM_EINVAL, NULL, "needs job; " MINE);
	res->there = true;
	return 0;
}

static int read_lane(struct reading *r, const msgpack_object *o)
{
	struct hm_str s;
	int rc = read_text(r, NULL, o, HM_JOB_MAX_LABEL, &s);
	int lane;

	if (rc || s.len == 0)
		return rc;
	lane = hm_lane_find(s);
	if (lane < 0)
		return bad(r, HM_EINVAL, NULL, "must be critical, high, normal or bulk");
	r->spec->lane = (enum hm_lane)lane;
	r->spec->has_lane = true;
	return 0;
}

/* -- recipients -------------------------------------------------------------- */

static int read_address(struct reading *r, const char *sub, const msgpack_object *o, struct hm_str *out)
{
	int rc = read_text(r, sub, o, HM_JOB_MAX_ADDRESS, out);

	if (rc == 0 && out->len == 0)
		return bad(r, HM_EINVAL, sub, "is empty");
	return rc;
}

static int read_addresses(struct reading *r, const msgpack_object *o)
{
	struct hm_str key, addr;

	if (o->via.map.size == 0)
		return bad(r, HM_EINVAL, "addr", "is an empty map");
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];
		int rc = read_text(r, "addr", &kv->key, HM_JOB_MAX_NAME, &key);

		if (rc)
			return rc;
		if (key.len == 0)
			return bad(r, HM_EINVAL, "addr", "has an empty key: give a medium or a channel");
		rc = read_address(r, "addr", &kv->val, &addr);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_tag_text(struct reading *r, const char *sub, const msgpack_object *o, const char *also,
			 struct hm_str *out)
{
	int rc = read_text(r, sub, o, HM_JOB_MAX_LABEL, out);

	if (rc)
		return rc;
	for (size_t i = 0; i < out->len; i++) {
		char c = out->p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      strchr(also, c)))
			return bad(r, HM_EINVAL, sub,
				   sub[0] == 'l' ? "must be a language tag like zh-CN"
						 : "must be a zone like Asia/Shanghai or +08:00");
	}
	return 0;
}

enum rcpt_key { RK_ADDR, RK_USER, RK_DATA, RK_LOCALE, RK_TZ, RK_NONE };
static const char *const rcpt_keys[] = {"addr", "user", "data", "locale", "tz", NULL};

static enum rcpt_key rcpt_key(struct hm_str key)
{
	switch (key.len) {
	case 2: return memcmp(key.p, "tz", 2) == 0 ? RK_TZ : RK_NONE;
	case 4:
		if (memcmp(key.p, "addr", 4) == 0)
			return RK_ADDR;
		if (memcmp(key.p, "user", 4) == 0)
			return RK_USER;
		return memcmp(key.p, "data", 4) == 0 ? RK_DATA : RK_NONE;
	case 6: return memcmp(key.p, "locale", 6) == 0 ? RK_LOCALE : RK_NONE;
	default: return RK_NONE;
	}
}

static int check_rcpt(struct reading *r, const msgpack_object *o)
{
	bool somebody = false;
	struct hm_str s;
	int rc;

	if (o->type == MSGPACK_OBJECT_STR)
		return read_address(r, NULL, o, &s);
	if (o->type != MSGPACK_OBJECT_MAP)
		return bad_type(r, NULL, "an address or a map", o);
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[i];

		if (!hm_mp_str(&kv->key, &s))
			return bad(r, HM_ETYPE, NULL, "its keys must be texts");
		rc = 0;
		if (kv->val.type == MSGPACK_OBJECT_NIL) {
			if (rcpt_key(s) == RK_NONE)
				return bad_key(r, r->key, s, rcpt_keys);
			continue;
		}
		switch (rcpt_key(s)) {
		case RK_ADDR:
			rc = kv->val.type == MSGPACK_OBJECT_MAP ? read_addresses(r, &kv->val)
								: read_address(r, "addr", &kv->val, &s);
			somebody = true;
			break;
		case RK_USER:
			rc = read_text(r, "user", &kv->val, HM_JOB_MAX_USER, &s);
			somebody |= s.len > 0;
			break;
		case RK_DATA: rc = check_map(r, "data", &kv->val); break;
		case RK_LOCALE: rc = read_tag_text(r, "locale", &kv->val, "-_", &s); break;
		case RK_TZ: rc = read_tag_text(r, "tz", &kv->val, "/_+-:", &s); break;
		case RK_NONE: return bad_key(r, r->key, s, rcpt_keys);
		}
		if (rc)
			return rc;
	}
	if (!somebody)
		return bad(r, HM_EINVAL, NULL, "needs addr or user");
	return 0;
}

static int read_to(struct reading *r, const msgpack_object *o)
{
	r->has_to = true;
	r->spec->rcpts = o;
	r->spec->n_rcpts = 1;
	return check_rcpt(r, o);
}

static int read_rs(struct reading *r, const msgpack_object *o)
{
	int rc;

	if (o->type != MSGPACK_OBJECT_ARRAY)
		return bad_type(r, NULL, "an array of recipients", o);
	if (o->via.array.size == 0)
		return bad(r, HM_EINVAL, NULL, "is empty: a chunk has 1 to 1000 recipients");
	if (o->via.array.size > HM_JOB_MAX_RECIPIENTS && !r->api)
		return bad(r, HM_EINVAL, NULL, "has more than 1000 recipients: cut it into several entries");
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		r->index = i;
		rc = check_rcpt(r, &o->via.array.ptr[i]);
		if (rc)
			return rc;
	}
	r->index = -1;
	r->has_rs = true;
	r->spec->chunk = true;
	r->spec->rcpts = o->via.array.ptr;
	r->spec->n_rcpts = o->via.array.size;
	return 0;
}

/* -- the table --------------------------------------------------------------- */

#define IN_QUEUE 1
#define IN_API	 2
#define IN_BOTH	 (IN_QUEUE | IN_API)

struct key_row {
	const char *name;
	uint8_t len, where;
	int (*read)(struct reading *r, const msgpack_object *o);
};
#define KEY(name, where, fn)                      \
	{                                         \
		name, sizeof(name) - 1, where, fn \
	}
/* Sorted by length; key_find starts at the first row of the length it looks for. */
static const struct key_row JOB_KEYS[] = {
	KEY("v", IN_QUEUE, read_version),
	KEY("id", IN_QUEUE, read_id),
	KEY("to", IN_BOTH, read_to),
	KEY("rs", IN_QUEUE, read_rs),
	KEY("at", IN_BOTH, read_at),
	KEY("n0", IN_QUEUE, read_n0),
	KEY("of", IN_QUEUE, read_of),
	KEY("acc", IN_QUEUE, read_acc),
	KEY("att", IN_QUEUE, read_att),
	KEY("res", IN_QUEUE, read_res),
	KEY("caps", IN_BOTH, read_caps),
	KEY("data", IN_BOTH, read_data),
	KEY("tags", IN_BOTH, read_tags),
	KEY("over", IN_BOTH, read_over),
	KEY("lane", IN_API, read_lane),
	KEY("route", IN_BOTH, read_route),
	KEY("render", IN_BOTH, read_render),
	KEY("tenant", IN_BOTH, read_tenant),
	KEY("dedupe", IN_BOTH, read_dedupe),
	KEY("channel", IN_BOTH, read_channel),
	KEY("content", IN_BOTH, read_content),
	KEY("expires", IN_BOTH, read_expires),
	KEY("template", IN_BOTH, read_template),
	KEY("campaign", IN_BOTH, read_campaign),
	KEY("category", IN_BOTH, read_category),
	KEY("at_local", IN_BOTH, read_at_local),
	KEY("recipients", IN_API, read_rs),
	KEY("local_past", IN_BOTH, read_local_past),
};
#define KEY_MAX_LEN 10
static_assert(hm_countof(JOB_KEYS) <= 32, "struct reading.seen");
/* first_of[n] = first row of length >= n */
static const uint8_t first_of[KEY_MAX_LEN + 2] = {0, 0, 1, 7, 10, 15, 16, 19, 22, 26, 26, 28};

static const struct key_row *key_find(struct hm_str key, unsigned where)
{
	if (key.len == 0 || key.len > KEY_MAX_LEN)
		return NULL;
	for (unsigned i = first_of[key.len]; i < first_of[key.len + 1]; i++)
		if (memcmp(JOB_KEYS[i].name, key.p, key.len) == 0)
			return JOB_KEYS[i].where & where ? &JOB_KEYS[i] : NULL;
	return NULL;
}

static int unknown_key(struct reading *r, struct hm_str key, unsigned where)
{
	const char *names[hm_countof(JOB_KEYS) + 1];
	size_t n = 0;

	for (size_t i = 0; i < hm_countof(JOB_KEYS); i++)
		if (JOB_KEYS[i].where & where)
			names[n++] = JOB_KEYS[i].name;
	names[n] = NULL;
	r->index = -1;
	return bad_key(r, NULL, key, names);
}

/* -- the whole --------------------------------------------------------------- */

static int check_whole(struct reading *r)
{
	const struct hm_job_spec *s = r->spec;
	const char *many = r->api ? "recipients" : "rs";

	r->index = -1;
	r->key = "to";
	if (r->has_to && r->has_rs)
		return bad(r, HM_EINVAL, NULL,
			   r->api ? "give to or recipients, not both" : "give to or rs, not both");
	if (!r->has_to && !r->has_rs)
		return bad(r, HM_EINVAL, NULL,
			   r->api ? "is missing: who gets the message?" : "is missing (or rs for a chunk)");
	r->key = "channel";
	if (s->channel.len && s->route.len)
		return bad(r, HM_EINVAL, NULL, "give channel or route, not both");
	if (!s->channel.len && !s->route.len)
		return bad(r, HM_EINVAL, NULL, "is missing (or route)");
	r->key = "template";
	if (s->template_ref.len && s->content)
		return bad(r, HM_EINVAL, NULL, "give template or content, not both");
	if (!s->template_ref.len && !s->content)
		return bad(r, HM_EINVAL, NULL, "is missing (or content)");
	r->key = "render";
	if (s->render && !s->content)
		return bad(r, HM_EINVAL, NULL, "belongs to content; a template is always rendered");
	r->key = "expires";
	if (s->expires_ms && s->at_ms && s->expires_ms <= s->at_ms)
		return bad(r, HM_EINVAL, NULL, "must be later than at");
	r->key = "at_local";
	if (s->at_local.len && s->at_ms)
		return bad(r, HM_EINVAL, NULL, "give at or at_local, not both");
	r->key = many;
	if (!r->api && s->n0 + s->n_rcpts > HM_JOB_MAX_RECIPIENTS)
		return bad(r, HM_EINVAL, NULL, "goes beyond 1000 recipients with this n0");
	return 0;
}

static int read_map(const msgpack_object *root, bool api, struct hm_job_spec *spec, struct hm_err *e)
{
	struct reading r = {.spec = spec, .e = e, .key = "message", .index = -1, .api = api};
	unsigned where = api ? IN_API : IN_QUEUE;

	memset(spec, 0, sizeof(*spec));
	spec->lane = HM_LANE_NORMAL;
	if (root->type != MSGPACK_OBJECT_MAP) {
		hm_err_set(e, HM_ETYPE, "a message must be a map, not %s", hm_mp_type_name(root));
		return HM_ETYPE;
	}
	for (uint32_t i = 0; i < root->via.map.size; i++) {
		const msgpack_object_kv *kv = &root->via.map.ptr[i];
		const struct key_row *row;
		struct hm_str key;
		int rc;

		if (!hm_mp_str(&kv->key, &key))
			return hm_err_set(e, HM_ETYPE, "the keys of a message must be texts");
		row = key_find(key, where);
		if (!row)
			return unknown_key(&r, key, where);
		if (kv->val.type == MSGPACK_OBJECT_NIL)
			continue;
		r.key = row->name;
		r.index = -1;
		if (r.seen & UINT32_C(1) << (row - JOB_KEYS))
			return bad(&r, HM_EINVAL, NULL, "is given twice");
		r.seen |= UINT32_C(1) << (row - JOB_KEYS);
		rc = row->read(&r, &kv->val);
		if (rc)
			return rc;
	}
	return check_whole(&r);
}

int hm_job_decode(struct hm_str bytes, msgpack_zone *zone, struct hm_job_spec *spec, struct hm_err *e)
{
	msgpack_object root;
	int rc;

	hm_err_clear(e);
	if (bytes.len > HM_JOB_MAX_BYTES)
		return hm_err_set(e, HM_ELIMIT, "the entry has %zu bytes; at most %u are allowed", bytes.len,
				  HM_JOB_MAX_BYTES);
	rc = hm_msgpack_decode(zone, bytes, &root, e);
	if (rc)
		return rc;
	return read_map(&root, false, spec, e);
}

int hm_job_read_message(const msgpack_object *root, struct hm_job_spec *spec, struct hm_err *e)
{
	hm_err_clear(e);
	return read_map(root, true, spec, e);
}

/* -- looking into a decoded job ---------------------------------------------- */

void hm_job_rcpt(const struct hm_job_spec *spec, uint32_t i, struct hm_rcpt *r)
{
	const msgpack_object *o;

	hm_assert(i < spec->n_rcpts);
	o = &spec->rcpts[i];
	memset(r, 0, sizeof(*r));
	if (o->type == MSGPACK_OBJECT_STR) {
		r->addr = hm_str_n(o->via.str.ptr, o->via.str.size);
		return;
	}
	for (uint32_t k = 0; k < o->via.map.size; k++) {
		const msgpack_object_kv *kv = &o->via.map.ptr[k];
		struct hm_str key;

		if (kv->val.type == MSGPACK_OBJECT_NIL || !hm_mp_str(&kv->key, &key))
			continue;
		switch (rcpt_key(key)) {
		case RK_ADDR:
			if (kv->val.type == MSGPACK_OBJECT_MAP) {
				r->addrs = &kv->val;
				r->addr = HM_STR_NULL;
			} else {
				(void)hm_mp_str(&kv->val, &r->addr);
				r->addrs = NULL;
			}
			break;
		case RK_USER: (void)hm_mp_str(&kv->val, &r->user); break;
		case RK_DATA: r->data = &kv->val; break;
		case RK_LOCALE: (void)hm_mp_str(&kv->val, &r->locale); break;
		case RK_TZ: (void)hm_mp_str(&kv->val, &r->tz); break;
		case RK_NONE: break;
		}
	}
}

struct hm_str hm_rcpt_address(const struct hm_rcpt *r, struct hm_str channel, enum hm_medium medium)
{
	const msgpack_object *o;
	struct hm_str s = HM_STR_NULL;

	if (!r->addrs)
		return r->addr.len ? r->addr : HM_STR_NULL;
	o = hm_mp_get(r->addrs, channel);
	if (!o)
		o = hm_mp_get(r->addrs, hm_str_c(hm_medium_name(medium)));
	if (!o || !hm_mp_str(o, &s))
		return HM_STR_NULL;
	return s;
}

static void put_be64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

void hm_job_derive_id(struct hm_ulid *id, uint32_t partition, enum hm_lane lane, uint64_t entry_ms,
		      uint64_t entry_seq)
{
	uint8_t seed[32];

	put_be64(seed, partition);
	put_be64(seed + 8, (uint64_t)lane);
	put_be64(seed + 16, entry_ms);
	put_be64(seed + 24, entry_seq);
	hm_ulid_derive(id, entry_ms, seed, sizeof(seed));
}

uint32_t hm_job_partition(const struct hm_ulid *id, uint32_t partitions)
{
	hm_assert(partitions > 0);
	return (uint32_t)(hm_hash64(id->b, sizeof(id->b), 0) % partitions);
}

size_t hm_job_key(struct hm_str prefix, uint32_t partition, const char *what, char *out, size_t cap)
{
	int n = snprintf(out, cap, "{%.*s:%u}:%s", HM_STRF(prefix), partition, what);

	hm_assert(n > 0 && (size_t)n < cap);
	return (size_t)n;
}

size_t hm_job_stream_key(struct hm_str prefix, uint32_t partition, enum hm_lane lane, char *out, size_t cap)
{
	int n = snprintf(out, cap, "{%.*s:%u}:q:%s", HM_STRF(prefix), partition, hm_lane_name(lane));

	hm_assert(n > 0 && (size_t)n < cap);
	return (size_t)n;
}

struct hm_str hm_job_acc_node(const struct hm_job_spec *spec)
{
	if (spec->acc.len <= HM_JOB_ACC_BOOT)
		return HM_STR_NULL;
	return hm_str_n(spec->acc.p + HM_JOB_ACC_BOOT, spec->acc.len - HM_JOB_ACC_BOOT);
}
