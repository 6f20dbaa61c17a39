/*
 * pauses.c - a short list under a lock
 */
#include "shape/pauses.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/obj.h"

#define PAUSES_MAGIC 0x70617573u
#define NOTE_MAX     1024

struct pause {
	struct hm_node node;
	size_t name_len, note_len;
	char text[]; /* name, note */
};
struct hm_pauses {
	uint32_t magic;
	pthread_mutex_t lock;
	struct hm_list list;
	bool loaded; /* atomic */
};

struct hm_pauses *hm_pauses_new(void)
{
	struct hm_pauses *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	HM_MAGIC_SET(p, PAUSES_MAGIC);
	pthread_mutex_init(&p->lock, NULL);
	hm_list_init(&p->list);
	return p;
}

void hm_pauses_free(struct hm_pauses *p)
{
	struct hm_node *n;

	if (p == NULL)
		return;
	HM_CHECK(p, PAUSES_MAGIC);
	while ((n = hm_list_pop(&p->list)) != NULL)
		free(hm_container_of(n, struct pause, node));
	pthread_mutex_destroy(&p->lock);
	HM_MAGIC_CLEAR(p);
	free(p);
}

static struct pause *find(struct hm_pauses *p, struct hm_str channel)
{
	hm_list_foreach (&p->list, n) {
		struct pause *x = hm_container_of(n, struct pause, node);

		if (hm_str_eq(hm_str_n(x->text, x->name_len), channel))
			return x;
	}
	return NULL;
}

bool hm_pauses_set(struct hm_pauses *p, struct hm_str channel, bool paused, struct hm_str note)
{
	struct pause *x, *made = NULL;
	bool news;

	HM_CHECK(p, PAUSES_MAGIC);
	note.len = hm_min(note.len, (size_t)NOTE_MAX);
	if (paused) {
		made = malloc(sizeof(*made) + channel.len + note.len);
		if (made == NULL)
			hm_panic(__FILE__, __LINE__, __func__, "no memory to keep a channel paused");
		hm_node_init(&made->node);
		made->name_len = channel.len;
		made->note_len = note.len;
		if (channel.len)
			memcpy(made->text, channel.p, channel.len);
		if (note.len)
			memcpy(made->text + channel.len, note.p, note.len);
	}
	pthread_mutex_lock(&p->lock);
	x = find(p, channel);
	news = (x != NULL) != paused;
	if (x != NULL)
		hm_list_remove(&p->list, &x->node);
	if (made != NULL)
		hm_list_push(&p->list, &made->node);
	pthread_mutex_unlock(&p->lock);
	free(x);
	return news;
}

bool hm_pauses_has(struct hm_pauses *p, struct hm_str channel)
{
	bool has;

	HM_CHECK(p, PAUSES_MAGIC);
	pthread_mutex_lock(&p->lock);
	has = find(p, channel) != NULL;
	pthread_mutex_unlock(&p->lock);
	return has;
}

void hm_pauses_each(struct hm_pauses *p, void (*fn)(void *arg, struct hm_str channel, struct hm_str note),
		    void *arg)
{
	HM_CHECK(p, PAUSES_MAGIC);
	pthread_mutex_lock(&p->lock);
	hm_list_foreach (&p->list, n) {
		struct pause *x = hm_container_of(n, struct pause, node);

		fn(arg, hm_str_n(x->text, x->name_len), hm_str_n(x->text + x->name_len, x->note_len));
	}
	pthread_mutex_unlock(&p->lock);
}

bool hm_pauses_loaded(struct hm_pauses *p)
{
	return __atomic_load_n(&p->loaded, __ATOMIC_ACQUIRE);
}

void hm_pauses_set_loaded(struct hm_pauses *p)
{
	__atomic_store_n(&p->loaded, true, __ATOMIC_RELEASE);
}

/* -- in Redis ------------------------------------------------------------------------------------- */

static struct hm_redis_script store_script = {
	.name = "pause",
	.source = "local had = redis.call('HEXISTS', KEYS[1], ARGV[1]) "
		  "if ARGV[2] == 'pause' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) "
		  "else redis.call('HDEL', KEYS[1], ARGV[1]) end "
		  "redis.call('XADD', KEYS[2], 'MAXLEN', '~', '1000000', '*', 'type', 'channel', 'name', "
		  "ARGV[1], "
		  "'action', ARGV[2], 'note', ARGV[3]) "
		  "if (had == 1) == (ARGV[2] == 'pause') then return 0 end "
		  "return 1",
};

void hm_pauses_store(struct hm_redis *r, struct hm_str prefix, struct hm_str channel, bool paused,
		     struct hm_str by, struct hm_str reason, uint64_t at_ms, hm_reply_fn fn, void *arg)
{
	char hash[80], events[80];
	struct hm_str keys[2], args[3];
	struct hm_arena a;
	struct hm_buf note;

	hm_arena_init(&a, NULL, 0);
	hm_buf_init_arena(&note, &a, 4096);
	hm_buf_printf(&note, "{\"at\":%llu,\"by\":\"", (unsigned long long)at_ms);
	hm_buf_json(&note, hm_str_n(by.p, hm_utf8_cut(by, HM_PAUSE_REASON_MAX)));
	hm_buf_lit(&note, "\",\"reason\":\"");
	hm_buf_json(&note, hm_str_n(reason.p, hm_utf8_cut(reason, HM_PAUSE_REASON_MAX)));
	hm_buf_lit(&note, "\"}");
	keys[0] = hm_str_n(hash,
			   (size_t)snprintf(hash, sizeof(hash), "{%.*s:ctl}:channels", HM_STRF(prefix)));
	keys[1] = hm_str_n(events,
			   (size_t)snprintf(events, sizeof(events), "{%.*s:ctl}:events", HM_STRF(prefix)));
	args[0] = channel;
	args[1] = paused ? HM_STR("pause") : HM_STR("resume");
	args[2] = note.err ? HM_STR("{}") : hm_buf_str(&note);
	hm_redis_eval(r, &store_script, keys, 2, args, 3, fn, arg);
	hm_arena_fini(&a);
}
