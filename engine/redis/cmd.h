/*
 * cmd.h - one command on its way: an object and its bytes
 *
 *   hm_cmd_new -> parked | later | a link's queue -> a link's pending -> answered -> hm_cmd_free
 *
 * The bytes (RESP, an array of bulk strings) are written once, at the end of the
 * client's current segment, and stay there until the answer is known, because a
 * cluster may ask for them again (MOVED, ASK, TRYAGAIN) and so may a script
 * (NOSCRIPT). A segment is freed when no command in it is left. A command is on
 * exactly one list at any time; moving it costs no copy.
 *
 * Memory: slabs, none per command in steady state. A command larger than a
 * segment gets memory of its own. Threads: owner of the client.
 */
#ifndef HM_REDIS_CMD_H
#define HM_REDIS_CMD_H

#include "base/list.h"
#include "base/obj.h"
#include "base/slab.h"
#include "redis/redis.h"

#define HM_CMD_MAGIC	 0x72636d64u
#define HM_CMD_MAX_BYTES (32u << 20)  /* one command */
#define HM_CMDS_MAX	 (256u << 20) /* all commands of a client that are not answered yet */
#define HM_CMD_SEGMENT	 (64u << 10)
#define HM_CMD_RESERVE	 256 /* objects set aside so that being out of memory can be reported */
#define HM_SLOT_ANY	 0xffffu
#define HM_CMD_NO_LIMIT	 UINT64_MAX

/* Why a command that was not executed failed; the sentences stand in cmd.c. */
enum hm_cmd_why {
	HM_CMD_WHY_NONE,
	HM_CMD_WHY_DOWN,      /* no connection; the sentence continues with the client's reason */
	HM_CMD_WHY_FULL,      /* max_pending */
	HM_CMD_WHY_BYTES,     /* HM_CMDS_MAX */
	HM_CMD_WHY_TOO_LARGE, /* HM_CMD_MAX_BYTES */
	HM_CMD_WHY_MEMORY,
	HM_CMD_WHY_CLOSED,
	HM_CMD_WHY_REDIRECTS, /* MOVED and ASK too often */
	HM_CMD_WHY_TRYAGAIN,
	HM_CMD_WHY_CLUSTERDOWN,
	HM_CMD_WHY_READONLY,
	HM_CMD_WHY_LOADING,
	HM_CMD_WHY_MASTERDOWN,
	HM_CMD_WHY_NOAUTH,
	HM_CMD_WHY_LINE_DOWN,  /* a line without connection */
	HM_CMD_WHY_LINE_MOVED, /* a line's key lives elsewhere now; the line follows */
	HM_CMD_WHY_UNBLOCKED,
};

struct hm_segment;
struct hm_cmd {
	uint32_t magic;
	uint16_t slot;
	uint8_t redirects;
	uint8_t skip; /* answers to drop before the command's own (ASKING) */
	struct hm_node node;
	struct hm_segment *seg;
	const char *p;
	size_t len;
	hm_reply_fn fn; /* NULL: the caller has been told already, only the place in the order is kept */
	void *arg;
	uint64_t at;			/* where its bytes begin in what its connection was given */
	uint64_t deadline_ns;		/* monotonic; HM_CMD_NO_LIMIT */
	struct hm_redis_script *script; /* an EVALSHA that may become an EVAL */
	int code;			/* of a failure waiting to be told */
	uint8_t why;			/* enum hm_cmd_why: of that failure, or of the last retry */
	bool internal;			/* the client's own (slot map): routed to no other node */
};

struct hm_cmds {
	struct hm_slab objects, segments;
	struct hm_segment *tail;
	size_t bytes; /* held by commands */
	struct hm_list reserve;
};
int hm_cmds_init(struct hm_cmds *cs) HM_MUSTCHECK;
void hm_cmds_fini(struct hm_cmds *cs); /* every command must have been freed */
/* Never NULL. When the bytes found no room, ->len is 0 and ->code, ->why say why. */
struct hm_cmd *hm_cmd_new(struct hm_cmds *cs, const struct hm_str *argv, size_t argc);
void hm_cmd_free(struct hm_cmds *cs, struct hm_cmd *c);
/* Turns an EVALSHA into the EVAL of its script. False when out of room (->code is set). */
bool hm_cmd_make_eval(struct hm_cmds *cs, struct hm_cmd *c) HM_MUSTCHECK;
const char *hm_cmd_why_text(enum hm_cmd_why why);

#endif
