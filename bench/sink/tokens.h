/*
 * tokens.h - access tokens handed out by the sink: FCM, WeCom and their like
 *
 * The newest 1024 are remembered. Thread-safe; a worker's last good token is
 * cached (struct token_cache), so a request costs one comparison.
 */
#ifndef HM_SINK_TOKENS_H
#define HM_SINK_TOKENS_H

#include "sink.h"

#define TOKEN_MAX 96

enum token_verdict { TOKEN_OK, TOKEN_UNKNOWN, TOKEN_EXPIRED };

struct token_cache {
	char text[TOKEN_MAX];
	size_t len;
	uint64_t expires_ms, generation;
};

struct tokens *tokens_new(void);
void tokens_free(struct tokens *t);
/* A new token, or with `reuse` the living one of the same key (client id, corp and secret ...). Returns seconds left. */
int64_t tokens_issue(struct tokens *t, unsigned profile, struct hm_str key, bool reuse, const char *lead,
		     int64_t ttl_s, uint64_t now_ms, char out[TOKEN_MAX]);
enum token_verdict tokens_check(struct tokens *t, struct token_cache *cache, unsigned profile,
				struct hm_str token, uint64_t now_ms);
/* Forgets (expire = false) or expires all tokens of a profile (0 = all). Returns how many. */
size_t tokens_invalidate(struct tokens *t, unsigned profile, bool expire);

#endif
