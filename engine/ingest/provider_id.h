/*
 * provider_id.h - which message a provider's id belongs to
 *
 * Receipts of some providers know only the id the provider gave when it took the message. Sending to such a channel notes
 *
 *   {<prefix>:<p>}:pid:<channel>:<hash of id>    "<ULID> <sent ms> <address>", for the time the adapter says (keep)
 *
 * with p by the hash of the provider's id, since nothing else is known when a receipt comes. The hash covers the recipient too
 * where one id stands for a call with several of them.
 *
 * A receipt may be faster than the note of the sending: it is then kept beside the key (`...:early`, ten minutes, 20 of
 * them), and who stores the id hands it on. For channels that are asked (pull), the id also goes into
 * `{<prefix>:<p>}:pull:<channel>`, a sorted set by the time it is due.
 *
 * Threads: that of the hm_redis. Texts are copied before a call returns.
 */
#ifndef HM_INGEST_PROVIDER_ID_H
#define HM_INGEST_PROVIDER_ID_H

#include "base/ulid.h"
#include "base/vocab.h"
#include "redis/redis.h"

#define HM_PID_KEY_MAX 256

struct hm_pid { /* of a channel */
	struct hm_str prefix, channel;
	uint32_t partitions;
};
struct hm_pid_note {
	struct hm_str provider_id, recipient;
	bool shared; /* the id is that of a call with several recipients */
	struct hm_ulid id;
	uint64_t sent_ms, keep_ms;
	uint64_t pull_ms; /* when it is first asked about; 0: never */
};
/* fn once: err when it is not (known to be) stored: to be repeated, which is harmless. */
typedef void (*hm_pid_stored_fn)(void *arg, const struct hm_err *err);
void hm_pid_store(struct hm_redis *r, const struct hm_pid *p, const struct hm_pid_note *n,
		  hm_pid_stored_fn fn, void *arg);

struct hm_pid_found {
	bool known;
	struct hm_ulid id;
	uint64_t sent_ms;
	struct hm_str address; /* valid during the callback */
};
typedef void (*hm_pid_found_fn)(void *arg, const struct hm_pid_found *f, const struct hm_err *err);
/* receipt >= 0 (enum hm_receipt): kept for later when the id is not known. */
void hm_pid_find(struct hm_redis *r, const struct hm_pid *p, struct hm_str provider_id,
		 struct hm_str recipient, int receipt, uint64_t at_ms, hm_pid_found_fn fn, void *arg);
/* "{hm:7}:pull:<channel>" */
size_t hm_pid_pull_key(const struct hm_pid *p, uint32_t partition, char *out, size_t cap);
uint32_t hm_pid_partition(const struct hm_pid *p, struct hm_str provider_id);

#endif
