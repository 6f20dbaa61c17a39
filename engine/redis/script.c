/*
 * script.c - Lua by its SHA-1: EVALSHA, and EVAL for a server that does not know it yet
 *
 * The fallback happens in client.c when NOSCRIPT comes: the bytes of the command
 * are still there, so it is rewritten, not asked for again.
 */
#include <openssl/evp.h>
#include <stdio.h>

#include "redis/client.h"

/* A script is usually a static that several shards use first at the same time: they
 * write the same bytes, and the first byte, written last, says that the rest is there. */
static void fill_sha(struct hm_redis_script *s)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (__atomic_load_n(&s->sha[0], __ATOMIC_ACQUIRE) != '\0')
		return;
	if (EVP_Digest(s->source, strlen(s->source), md, &n, EVP_sha1(), NULL) != 1 || n != 20)
		hm_panic(__FILE__, __LINE__, __func__, "SHA-1 is not available");
	for (size_t i = 40; i-- > 0;)
		__atomic_store_n(&s->sha[i], hex[i % 2 ? md[i / 2] & 15 : md[i / 2] >> 4],
				 i == 0 ? __ATOMIC_RELEASE : __ATOMIC_RELAXED);
}

void hm_redis_eval(struct hm_redis *r, struct hm_redis_script *s, const struct hm_str *keys, size_t nkeys,
		   const struct hm_str *args, size_t nargs, hm_reply_fn fn, void *arg)
{
	struct hm_arena_mark mark = hm_arena_mark(&r->tick->scratch);
	struct hm_str few[32], *argv = few;
	char count[24];
	size_t n = 3 + nkeys + nargs;

	fill_sha(s);
	if (n > hm_countof(few)) {
		argv = hm_arena_alloc(&r->tick->scratch, n * sizeof(*argv));
		if (argv == NULL) {
			hm_redis_fail(r, HM_ENOMEM, HM_CMD_WHY_MEMORY, fn, arg);
			return;
		}
	}
	snprintf(count, sizeof(count), "%zu", nkeys);
	argv[0] = HM_STR("EVALSHA");
	argv[1] = hm_str_n(s->sha, 40);
	argv[2] = hm_str_c(count);
	for (size_t i = 0; i < nkeys; i++)
		argv[3 + i] = keys[i];
	for (size_t i = 0; i < nargs; i++)
		argv[3 + nkeys + i] = args[i];
	hm_redis_send_script(r, nkeys ? keys[0] : HM_STR_NULL, argv, n, s, fn, arg);
	hm_arena_rewind(&r->tick->scratch, mark);
}
