/*
 * lists.c - what this process knows of the lists: anything there, or nothing?
 *
 * A look begun before something was heard must not say EMPTY after it: whatever is heard counts up `heard`, and a look that finds
 * nothing counts only if that stands where it stood.
 */
#include "gates/lists.h"

#include <stdatomic.h>
#include <stdio.h>

#include "gates/suppress.h"
#include "ingest/cancel_mark.h"

enum { UNKNOWN, EMPTY, USED };
#define STATE(x) ((x)&3u) /* one word: state, and above it how often something was heard */
#define HEARD	 4u

static _Atomic uint32_t word;
static struct {
	uint32_t open, from; /* answers to come; the word when it began */
	bool found, failed;
	struct hm_redis *redis;
	char prefix[HM_SUPPRESS_KEY_MAX];
} look;

static void change(uint32_t state)
{
	uint32_t old = atomic_load(&word);

	while (!atomic_compare_exchange_weak(&word, &old, ((old & ~3u) + HEARD) | state))
		;
}

bool hm_lists_may_have(void)
{
	return STATE(atomic_load_explicit(&word, memory_order_acquire)) != EMPTY;
}

void hm_lists_used(void)
{
	if (STATE(atomic_load(&word)) != USED)
		change(USED);
}

void hm_lists_forget(void)
{
	change(UNKNOWN);
}

static struct hm_redis_script announce_script = {
	.name = "lists",
	.source = "if not redis.call('SET', KEYS[1], '1', 'NX') then return 0 end\n"
		  "redis.call('XADD', KEYS[2], 'MAXLEN', '~', '1000000', '*', 'type', 'lists')\n"
		  "return 1\n",
};

void hm_lists_announce(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn, void *arg)
{
	char k1[HM_CTL_KEY_MAX], k2[HM_CTL_KEY_MAX];
	const struct hm_str keys[2] = {hm_str_n(k1, hm_ctl_key(prefix, "lists", k1, sizeof(k1))),
				       hm_str_n(k2, hm_ctl_key(prefix, "events", k2, sizeof(k2)))};

	hm_lists_used();
	hm_redis_eval(r, &announce_script, keys, 2, NULL, 0, fn, arg);
}

static void on_announced(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	(void)arg; /* entries without the key are found by every look */
	(void)reply;
	(void)err;
}

static void on_look(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	uint32_t from = look.from;

	(void)arg;
	(void)err;
	if (reply == NULL || reply->type != HM_REPLY_INT)
		look.failed = true;
	else if (reply->i > 0)
		look.found = true;
	hm_assert(look.open > 0);
	if (--look.open > 0)
		return;
	if (look.found)
		hm_lists_announce(look.redis, hm_str_c(look.prefix), on_announced, NULL);
	else if (look.failed && STATE(from) == EMPTY)
		(void)atomic_compare_exchange_strong(&word, &from, (from & ~3u) | UNKNOWN);
	else if (!look.failed)
		(void)atomic_compare_exchange_strong(&word, &from, (from & ~3u) | EMPTY);
}

void hm_lists_look(struct hm_redis *r, struct hm_str prefix)
{
	char key[HM_CTL_KEY_MAX];
	struct hm_str argv[2] = {HM_STR("EXISTS")};

	if (look.open > 0 || STATE(atomic_load(&word)) == USED)
		return;
	look.from = atomic_load(&word);
	look.found = look.failed = false;
	look.redis = r;
	snprintf(look.prefix, sizeof(look.prefix), "%.*s", HM_STRF(prefix));
	look.open = 1 + HM_SUPPRESS_SLOTS;
	argv[1] = hm_str_n(key, hm_ctl_key(prefix, "lists", key, sizeof(key)));
	hm_redis_send(r, argv[1], argv, 2, on_look, NULL);
	for (uint32_t k = 0; k < HM_SUPPRESS_SLOTS; k++) {
		argv[1] = hm_str_n(key, hm_person_key(prefix, k, "supp", key, sizeof(key)));
		hm_redis_send(r, argv[1], argv, 2, on_look, NULL);
	}
}
