/*
 * inbox.c - the inbox of a shard: opening, settings, closing
 */
#include "inbox/inbox.h"

#include <stdlib.h>

#include "base/log.h"
#include "inbox/live.h"

struct hm_inbox_ref inbox_ref(const struct hm_inbox *ib, struct hm_str user)
{
	HM_CHECK(ib, INBOX_MAGIC);
	return (struct hm_inbox_ref){.redis = ib->redis,
				     .prefix = ib->deps.prefix,
				     .user = user,
				     .now_ms = ib->deps.tick->wall_ms,
				     .keep_ms = ib->settings->inbox.keep_ms};
}

struct hm_inbox *hm_inbox_new(const struct hm_inbox_deps *deps)
{
	struct hm_inbox *ib = calloc(1, sizeof(*ib));

	if (ib == NULL)
		return NULL;
	HM_MAGIC_SET(ib, INBOX_MAGIC);
	ib->deps = *deps;
	ib->settings = deps->settings;
	inbox_jobs_init(ib);
	inbox_reports_init(ib);
	ib->live = inbox_live_new(ib);
	if (ib->live == NULL) {
		HM_MAGIC_CLEAR(ib);
		free(ib);
		return NULL;
	}
	return ib;
}

#define ORIGIN_MAX 128u

/* scheme://host[:port] as browsers write it (RFC 6454 section 6.2): it is compared byte for byte and stands in a header. */
static bool is_origin(struct hm_str s)
{
	ptrdiff_t at = hm_str_find(s, HM_STR("://"));

	if (hm_str_is(s, "*"))
		return true;
	if (at < 1 || (size_t)at + 3 >= s.len || s.len > ORIGIN_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];
		bool in_host = i >= (size_t)at + 3;

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '+' ||
		      c == ':' || (c == '/' && !in_host) || (in_host && (c == '[' || c == ']'))))
			return false;
	}
	return true;
}

int hm_inbox_check(const struct hm_settings *s, const char **key_r, struct hm_err *e)
{
	struct hm_token_keys *keys;
	int rc;

	*key_r = "token_keys";
	rc = hm_token_keys_new(s->inbox.token_keys.v, s->inbox.token_keys.n, &keys, e);
	hm_token_keys_free(keys);
	if (rc != 0)
		return rc;
	*key_r = "origins";
	for (size_t i = 0; i < s->inbox.origins.n; i++)
		if (!is_origin(s->inbox.origins.v[i]))
			return hm_err_set(e, HM_ECONFIG,
					  "'%.*s' is no origin: expected scheme://host or scheme://host:port "
					  "in lower case, "
					  "without a path, or *",
					  (int)hm_min(s->inbox.origins.v[i].len, (size_t)60),
					  s->inbox.origins.v[i].p);
	return 0;
}

static int read_keys(struct hm_inbox *ib, const struct hm_settings *s, struct hm_err *e)
{
	struct hm_token_keys *keys;
	int rc = hm_token_keys_new(s->inbox.token_keys.v, s->inbox.token_keys.n, &keys, e);

	if (rc == 0) {
		hm_token_keys_free(ib->keys);
		ib->keys = keys;
	}
	return rc;
}

int hm_inbox_open(struct hm_inbox *ib, struct hm_redis *redis, struct hm_receipts *receipts, struct hm_err *e)
{
	int rc;

	HM_CHECK(ib, INBOX_MAGIC);
	if ((rc = read_keys(ib, ib->settings, e)) != 0)
		return rc;
	ib->redis = redis;
	ib->receipts = receipts;
	return 0;
}

void hm_inbox_reload(struct hm_inbox *ib, const struct hm_settings *settings)
{
	struct hm_err e = {0};

	HM_CHECK(ib, INBOX_MAGIC);
	if (read_keys(ib, settings, &e) != 0)
		HM_ERROR(HTTP, "the inbox's token keys stay as they are", HM_E(&e));
	ib->settings = settings;
}

void hm_inbox_close(struct hm_inbox *ib)
{
	HM_CHECK(ib, INBOX_MAGIC);
	if (ib->closed)
		return;
	ib->closed = true;
	inbox_live_close(ib->live);
	inbox_reports_close(ib);
}

void hm_inbox_free(struct hm_inbox *ib)
{
	if (ib == NULL)
		return;
	HM_CHECK(ib, INBOX_MAGIC);
	hm_assert(hm_list_empty(&ib->reports) && ib->report_batches == 0);
	hm_slab_fini(&ib->jobs[0]);
	hm_slab_fini(&ib->jobs[1]);
	inbox_live_free(ib->live);
	hm_token_keys_free(ib->keys);
	HM_MAGIC_CLEAR(ib);
	free(ib);
}

void hm_inbox_describe(const struct hm_inbox *ib, struct hm_buf *out)
{
	HM_CHECK(ib, INBOX_MAGIC);
	hm_buf_printf(
		out,
		"{\"calls\":%zu,\"reports_waiting\":%zu,\"token_keys\":%zu,\"listeners\":%zu,\"lines\":%zu}",
		ib->jobs[0].live + ib->jobs[1].live, ib->reports.len,
		ib->keys ? hm_token_keys_count(ib->keys) : 0, inbox_live_count(ib->live),
		inbox_live_lines(ib->live));
}
