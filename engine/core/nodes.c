/*
 * nodes.c - this node's line in the list of nodes
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/nodes.h"
#include "ingest/cancel_mark.h"

#define NODES_MAGIC 0x6e6f6473u

struct hm_nodes {
	uint32_t magic;
	struct hm_engine *en;
	struct hm_timer beat;
	char key[HM_CTL_KEY_MAX], api[512];
	size_t key_len;
	bool failed; /* told once */
};

static void on_written(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_nodes *n = arg;

	HM_CHECK(n, NODES_MAGIC);
	if (reply == NULL && err->code == HM_EREDIS && !n->failed)
		HM_WARN(CORE, "this node cannot be listed", HM_E(err));
	n->failed = reply == NULL && err->code == HM_EREDIS;
}

static void on_beat(struct hm_timer *t)
{
	struct hm_nodes *n = hm_container_of(t, struct hm_nodes, beat);
	struct hm_engine *en = n->en;
	struct hm_str argv[4] = {HM_STR("HSET"), hm_str_n(n->key, n->key_len), hm_str_c(en->node_id)};
	struct hm_buf b;

	HM_CHECK(n, NODES_MAGIC);
	hm_timer_start(&en->tick, &n->beat, HM_NODES_BEAT_MS);
	if (!hm_redis_up(en->redis))
		return;
	hm_buf_init(&b, 4096);
	hm_buf_lit(&b, "{\"api\":\"");
	hm_buf_json(&b, hm_str_c(n->api));
	hm_buf_printf(&b, "\",\"at\":%llu,\"version\":\"%s\"}", (unsigned long long)en->tick.wall_ms,
		      HM_VERSION);
	argv[3] = hm_buf_str(&b);
	if (b.err == 0)
		hm_redis_send(en->redis, argv[1], argv, 4, on_written, n);
	hm_buf_fini(&b);
}

/* The first address that is no socket file and says one host. */
static void find_api(struct hm_nodes *n, const char *listens)
{
	struct hm_str own = n->en->first_cfg->settings.node.api_url, rest = hm_str_c(listens), one;

	if (own.len) {
		while (own.len && own.p[own.len - 1] == '/')
			own.len--;
		snprintf(n->api, sizeof(n->api), "%.*s", HM_STRF(own));
		return;
	}
	while (hm_str_split(&rest, ' ', &one)) {
		if (!hm_str_starts(one, HM_STR("http")) || hm_str_find(one, HM_STR("//0.0.0.0:")) >= 0 ||
		    hm_str_find(one, HM_STR("//[::]:")) >= 0 || hm_str_find(one, HM_STR("//*:")) >= 0)
			continue;
		snprintf(n->api, sizeof(n->api), "%.*s", HM_STRF(one));
		return;
	}
}

struct hm_nodes *hm_nodes_start(struct hm_engine *en, const char *listens)
{
	struct hm_nodes *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	HM_MAGIC_SET(n, NODES_MAGIC);
	n->en = en;
	n->key_len = hm_ctl_key(en->first_cfg->settings.queue.prefix, "nodes", n->key, sizeof(n->key));
	find_api(n, listens);
	hm_timer_init(&n->beat, on_beat);
	hm_timer_start(&en->tick, &n->beat, 0);
	return n;
}

void hm_nodes_stop(struct hm_nodes *n)
{
	if (n != NULL)
		hm_timer_stop(&n->en->tick, &n->beat);
}

void hm_nodes_free(struct hm_nodes *n)
{
	if (n == NULL)
		return;
	HM_CHECK(n, NODES_MAGIC);
	HM_MAGIC_CLEAR(n);
	free(n);
}
