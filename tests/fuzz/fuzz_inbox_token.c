/*
 * Any text as a user's token: refused with a sentence, or none was there to refuse; and any header and claims (a line, and the rest)
 * under a good signature: what holds names a user and an end within the limits.
 */
#include "adapter/sign.h"
#include "inbox/store.h"
#include "inbox/token.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW    UINT64_C(1700000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hm_token_keys *keys;

static bool check(struct hm_str text, struct hm_token *t)
{
	struct hm_token_rules r = {.keys = keys,
				   .audience = HM_STR("hermod-inbox"),
				   .now_ms = NOW,
				   .longest_ms = 3600000,
				   .leeway_ms = 30000};
	struct hm_arena a;
	struct hm_err e = {0};
	bool ok;

	hm_arena_init(&a, NULL, 0);
	ok = hm_token_check(&r, text, &a, t, &e) == 0;
	if (ok)
		hm_assert(hm_inbox_user_ok(t->user) && t->expires_ms + 30000 > NOW &&
			  t->expires_ms <= NOW + 3630000);
	else
		hm_assert(e.code == HM_EPERM && e.text[0]);
	hm_arena_fini(&a);
	return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_str all = hm_str_n((const char *)data, size), secret = HM_STR("k1 HS256 " SECRET);
	ptrdiff_t cut = hm_str_chr(all, '\n');
	struct hm_token t;
	struct hm_err e = {0};
	struct hm_buf b;

	if (keys == NULL)
		hm_assert(hm_token_keys_new(&secret, 1, &keys, &e) == 0);
	hm_assert(!check(all, &t)); /* nobody guesses a signature */
	if (cut < 0 || size > 2048)
		return 0;
	hm_buf_init(&b, 8192);
	hm_assert(hm_jwt(NULL, HM_STR(SECRET), HM_SIG_HS256, hm_str_n(all.p, (size_t)cut),
			 hm_str_n(all.p + cut + 1, size - (size_t)cut - 1), &b, &e) == 0);
	(void)check(hm_buf_str(&b), &t);
	hm_buf_fini(&b);
	return 0;
}
