/*
 * schedule.c - the document of a schedule, and when it fires
 */
#include "schedule/schedule.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define GRACE_MS     60000 /* catch_up none: not missed yet */
#define EVERY_MIN_MS 1000
#define EVERY_MAX_MS (366u * 86400000ull)

static int bad(struct hm_err *e, int code, const char *key, const char *sentence)
{
	hm_err_set(e, code, "%s: %s", key, sentence);
	hm_err_field(e, key);
	return code;
}

bool hm_schedule_name_ok(struct hm_str name)
{
	if (name.len == 0 || name.len > HM_SCHEDULE_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}

static int read_moment(const msgpack_object *o, const char *key, uint64_t *ms_r, struct hm_err *e)
{
	if (o->type == MSGPACK_OBJECT_STR) {
		if (hm_clock_parse_rfc3339(hm_str_n(o->via.str.ptr, o->via.str.size), ms_r))
			return 0;
	} else if (hm_mp_u64(o, ms_r) && *ms_r > 100000000000u && *ms_r < UINT64_C(1) << 48) {
		return 0;
	}
	return bad(e, HM_EINVAL, key,
		   "must be milliseconds of Unix time or RFC 3339, like 2026-01-02T03:04:05Z");
}

static int read_span(const msgpack_object *o, const char *key, uint64_t *ms_r, struct hm_err *e)
{
	if (o->type == MSGPACK_OBJECT_STR
		    ? hm_str_duration_ms(hm_str_n(o->via.str.ptr, o->via.str.size), ms_r)
		    : hm_mp_u64(o, ms_r))
		if (*ms_r >= EVERY_MIN_MS && *ms_r <= EVERY_MAX_MS)
			return 0;
	return bad(e, HM_EINVAL, key, "must be a duration from 1s to 366d, like 30m or 2h");
}

static int read_job(const msgpack_object *o, struct hm_schedule *s, struct hm_err *e)
{
	char text[160];

	if (hm_job_read_message(o, &s->job, e) != 0) {
		int code = e->code;

		snprintf(text, sizeof(text), "job.%s", e->field[0] ? e->field : "");
		hm_err_wrap(e, "job");
		hm_err_field(e, text);
		return code;
	}
	if (s->job.at_ms || s->job.at_local.len || s->job.expires_ms)
		return bad(e, HM_EINVAL, "job",
			   "at, at_local and expires would be the same every time; there is expires_after");
	if (s->job.n_rcpts > HM_SCHEDULE_RCPTS)
		return bad(e, HM_EINVAL, "job", "has more than 10000 recipients");
	return 0;
}

static int read_key(struct hm_str k, const msgpack_object *v, struct hm_schedule *s, bool *has_job,
		    struct hm_err *e)
{
	static const char *const known[] = {"name",  "cron",	 "every",	  "tz",	 "from",
					    "until", "catch_up", "expires_after", "job", NULL};
	struct hm_str text = HM_STR_NULL;
	const char *near;
	char key[48];

	(void)hm_mp_str(v, &text);
	snprintf(key, sizeof(key), "%.*s", (int)hm_min(k.len, (size_t)40), k.p);
	if (hm_str_is(k, "every"))
		return read_span(v, key, &s->every_ms, e);
	if (hm_str_is(k, "expires_after"))
		return read_span(v, key, &s->expires_after_ms, e);
	if (hm_str_is(k, "from"))
		return read_moment(v, key, &s->from_ms, e);
	if (hm_str_is(k, "until"))
		return read_moment(v, key, &s->until_ms, e);
	if (hm_str_is(k, "job")) {
		*has_job = true;
		return read_job(v, s, e);
	}
	near = hm_str_nearest(k, known);
	for (size_t i = 0; known[i] != NULL; i++)
		if (hm_str_is(k, known[i]))
			near = NULL;
	if (near != NULL)
		return hm_err_set(e, HM_EINVAL, "%s: unknown key, did you mean \"%s\"?", key, near);
	if (v->type != MSGPACK_OBJECT_STR)
		return bad(e, HM_ETYPE, key, "must be a string, or is a key nobody knows");
	if (hm_str_is(k, "name")) {
		s->name = text;
		return hm_schedule_name_ok(text)
			       ? 0
			       : bad(e, HM_EINVAL, "name", "must have 1 to 64 letters, digits, dots, _ or -");
	}
	if (hm_str_is(k, "cron")) {
		s->is_cron = true;
		if (hm_cron_parse(text, &s->cron, e) == 0)
			return 0;
		hm_err_field(e, "cron");
		return e->code;
	}
	if (hm_str_is(k, "tz")) {
		s->tz = hm_tz_find(text);
		return s->tz ? 0 : bad(e, HM_EINVAL, "tz", "must be a zone like Asia/Shanghai or +08:00");
	}
	if (hm_str_is(k, "catch_up")) {
		static const char *const names[] = {"one", "none", "all"};

		for (int i = 0; i < 3; i++)
			if (hm_str_is(text, names[i])) {
				s->catch_up = (enum hm_catch_up)i;
				return 0;
			}
		return bad(e, HM_EINVAL, "catch_up", "must be none, one or all");
	}
	return bad(e, HM_EINVAL, key, "unknown key");
}

int hm_schedule_read(const msgpack_object *root, struct hm_schedule *s, struct hm_err *e)
{
	bool has_job = false;

	hm_err_clear(e);
	memset(s, 0, sizeof(*s));
	if (root->type != MSGPACK_OBJECT_MAP)
		return hm_err_set(e, HM_ETYPE, "a schedule must be a map, not %s", hm_mp_type_name(root));
	for (uint32_t i = 0; i < root->via.map.size; i++) {
		struct hm_str k;
		int rc;

		if (!hm_mp_str(&root->via.map.ptr[i].key, &k))
			return hm_err_set(e, HM_ETYPE, "the keys of a schedule must be texts");
		if (root->via.map.ptr[i].val.type == MSGPACK_OBJECT_NIL)
			continue;
		rc = read_key(k, &root->via.map.ptr[i].val, s, &has_job, e);
		if (rc)
			return rc;
	}
	if (s->name.len == 0)
		return bad(e, HM_EINVAL, "name", "is missing");
	if (s->is_cron == (s->every_ms != 0))
		return bad(e, HM_EINVAL, "cron", "give cron or every");
	if (!has_job)
		return bad(e, HM_EINVAL, "job", "is missing: what is to be sent?");
	if (s->until_ms && s->until_ms <= s->from_ms)
		return bad(e, HM_EINVAL, "until", "must be later than from");
	if (s->tz == NULL)
		s->tz = hm_tz_find(HM_STR("UTC"));
	return 0;
}

uint64_t hm_schedule_next(const struct hm_schedule *s, uint64_t created_ms, uint64_t after_ms)
{
	uint64_t anchor = s->from_ms ? s->from_ms : created_ms, next;

	if (after_ms < anchor) /* the first may be the anchor itself, where there is a `from` */
		after_ms = s->from_ms ? anchor - 1 : anchor;
	if (s->is_cron) {
		int64_t t = hm_cron_next(&s->cron, s->tz, (int64_t)(after_ms / 1000));

		next = t == INT64_MAX ? HM_SCHEDULE_NEVER : (uint64_t)t * 1000;
	} else {
		next = after_ms < anchor ? anchor
					 : anchor + ((after_ms - anchor) / s->every_ms + 1) * s->every_ms;
	}
	return s->until_ms && next > s->until_ms ? HM_SCHEDULE_NEVER : next;
}

uint64_t hm_schedule_due(const struct hm_schedule *s, uint64_t created_ms, uint64_t due_ms, uint64_t now_ms,
			 uint64_t *next_ms_r)
{
	uint64_t least = s->catch_up == HM_CATCH_NONE ? GRACE_MS : HM_SCHEDULE_LATE_MS, next;

	if (due_ms > now_ms) {
		*next_ms_r = due_ms;
		return 0;
	}
	least = now_ms > least ? now_ms - least : 0;
	if (due_ms < least) /* too late for that one: the first that is not */
		due_ms = hm_schedule_next(s, created_ms, least - 1);
	if (due_ms > now_ms) { /* never included */
		*next_ms_r = due_ms;
		return 0;
	}
	next = hm_schedule_next(s, created_ms, due_ms);
	while (s->catch_up == HM_CATCH_ONE && next <= now_ms) {
		due_ms = next;
		next = hm_schedule_next(s, created_ms, due_ms);
	}
	*next_ms_r = next;
	return due_ms;
}

void hm_schedule_job_id(struct hm_ulid *id, struct hm_str schedule_id, uint64_t due_ms, uint32_t n)
{
	uint8_t seed[64];
	size_t len = hm_min(schedule_id.len, (size_t)40);

	memcpy(seed, schedule_id.p, len);
	for (int i = 0; i < 8; i++)
		seed[len + (size_t)i] = (uint8_t)(due_ms >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		seed[len + 8 + (size_t)i] = (uint8_t)(n >> (24 - 8 * i));
	hm_ulid_derive(id, due_ms, seed, len + 12);
}
