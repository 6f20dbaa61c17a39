/*
 * dryrun.h - the exact requests a message would cause, as text
 *
 * Behind them stands what was measured, cut and noticed, in lines that begin with #.
 * For `hermod adapters dry-run`: no connection is made. Secrets of the channel show
 * as *** unless asked for; a token signed here is shown, since its whole point is to
 * be compared; a token that would have to be fetched is a placeholder or the one given.
 * Threads: any; no state.
 */
#ifndef HM_ADAPTER_DRYRUN_H
#define HM_ADAPTER_DRYRUN_H

#include "adapter/adapter.h"

struct hm_dryrun {
	const struct hm_channel *channel;
	const msgpack_object *
		message; /* map: to, title, body, short, format, url, image, buttons, data, options, expires, id, user, lane */
	uint64_t wall_ms;
	struct hm_str nonce; /* empty = random */
	struct hm_str token; /* stands for the fetched one; empty = a placeholder */
	bool show_secrets;
};
/* Appends the requests. HM_EINVAL with a sentence when the message cannot be sent there. */
int hm_dryrun(const struct hm_dryrun *d, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;
/* Replaces the channel's secrets, also in the clothes of a URL, a form or JSON, by ***. The buffer is of the heap or an arena. */
void hm_dryrun_mask(const struct hm_channel *c, struct hm_buf *text);
/* The channel of a map that stands alone in a file; `adapter` in it may be missing. References are resolved. */
struct hm_channel_set *hm_dryrun_channel(struct hm_adapter_set *set, struct hm_str adapter, const char *file,
					 hm_report_fn report, void *arg);
/* A message file, JSON or YAML, as msgpack bytes. */
int hm_dryrun_message(const char *file, struct hm_buf *out, struct hm_err *e) HM_MUSTCHECK;

/* Where the adapters are: dir itself, or the folder that came with the program. */
const char *hm_adapter_dir(struct hm_str dir, char *out, size_t cap);
/* One loaded adapter, for listings. */
size_t hm_adapter_set_len(const struct hm_adapter_set *s);
struct hm_str hm_adapter_name(const struct hm_adapter_set *s, size_t i);
void hm_adapter_describe(const struct hm_adapter_set *s, size_t i, struct hm_buf *out); /* a JSON object */
void hm_adapter_line(const struct hm_adapter_set *s, size_t i, struct hm_buf *out);	/* a line of text */
/* Loads and checks one file; the description of what it is goes to out. */
bool hm_adapter_check_file(const char *file, struct hm_buf *out, hm_report_fn report, void *arg) HM_MUSTCHECK;
/* A set with just the adapter of one file. */
struct hm_adapter_set *hm_adapter_set_of_file(const char *file, hm_report_fn report, void *arg);

#endif
