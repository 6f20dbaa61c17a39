/*
 * schedule.h - recurring schedules: the document, the store in Redis, who fires them
 *
 * A schedule is a message or batch item of the API with times at which it is submitted again:
 *
 *   {"name": "standup", "cron": "0 9 * * mon-fri", "tz": "Asia/Shanghai",      or "every": "1h"
 *    "from": "2026-12-01T00:00:00Z", "until": ..., "catch_up": "one", "expires_after": "2h",
 *    "job": {"channel": "wecom", "to": "alice", "content": {"body": "Standup!"}, "lane": "high"}}
 *
 * cron is in schedule/cron.h; every counts from `from`, else from the creation. The job is as in POST /v1/messages, or with
 * `recipients`, up to 10,000; without at, at_local and expires, which would be the same every time.
 *
 * Stored on the slot of {<prefix>:ctl}:
 *   {hm:ctl}:schedules          zset   name, score = ms of the next firing; inf: paused, or over
 *   {hm:ctl}:schedule:<name>    hash   doc (JSON as above), id (ULID), at, by (creation), paused ("1" or ""), runs, last (ms)
 *
 * Fired by the control thread of every process; exactly once in effect. Every process finds what is due, and writes each entry of
 * the job by a script that also sets `{hm:p}:fired:<id of the job>`, if that is not set: the id follows from the schedule's id, the
 * time it was due and the number of the chunk. Only when all entries are written the schedule moves on to its next time, by
 * comparing and setting the time that was. Whatever dies in between, the next process does the same again and changes nothing.
 * (The notes live HM_SCHEDULE_NOTE_MS; what was due before HM_SCHEDULE_LATE_MS is not fired any more.)
 *
 * Times missed while no process was running: catch_up none: those more than a minute late are left out; one (default): the
 * latest only; all: each of them, one after the other. What is more than 7 days late is left out.
 *
 * Threads: that of the redis client; reading documents: any.
 */
#ifndef HM_SCHEDULE_SCHEDULE_H
#define HM_SCHEDULE_SCHEDULE_H

#include "ingest/job.h"
#include "redis/redis.h"
#include "schedule/cron.h"

#define HM_SCHEDULE_NAME_MAX 64
#define HM_SCHEDULE_DOC_MAX  (4u << 20)
#define HM_SCHEDULES_MAX     10000
#define HM_SCHEDULE_RCPTS    10000
#define HM_SCHEDULE_LATE_MS  (7u * 86400000u)
#define HM_SCHEDULE_NOTE_MS  "691200000" /* 8 days: longer than HM_SCHEDULE_LATE_MS */
#define HM_SCHEDULE_NEVER    UINT64_MAX

enum hm_catch_up { HM_CATCH_ONE, HM_CATCH_NONE, HM_CATCH_ALL };

struct hm_schedule { /* texts point into what was decoded */
	struct hm_str name;
	bool is_cron;
	struct hm_cron cron;
	uint64_t every_ms;
	const struct hm_tz *tz;
	uint64_t from_ms, until_ms, expires_after_ms; /* 0: none */
	enum hm_catch_up catch_up;
	struct hm_job_spec job;
};
/* From the decoded map. Errors name the key, as those of job.h. */
int hm_schedule_read(const msgpack_object *root, struct hm_schedule *s_r, struct hm_err *e) HM_MUSTCHECK;
bool hm_schedule_name_ok(struct hm_str name); /* letters, digits, . _ - */
/* The first firing later than after_ms; HM_SCHEDULE_NEVER. created_ms is where `every` counts from without `from`. */
uint64_t hm_schedule_next(const struct hm_schedule *s, uint64_t created_ms, uint64_t after_ms);
/* What is to be fired now that due_ms has come, and when it goes on. 0: nothing. */
uint64_t hm_schedule_due(const struct hm_schedule *s, uint64_t created_ms, uint64_t due_ms, uint64_t now_ms,
			 uint64_t *next_ms_r);
/* Id of chunk n of the job fired for due_ms. */
void hm_schedule_job_id(struct hm_ulid *id_r, struct hm_str schedule_id, uint64_t due_ms, uint32_t n);

/* -- store.c -- */
/* 1: stored; 0: there is one of this name; -1: there are HM_SCHEDULES_MAX. */
void hm_schedule_create(struct hm_redis *r, struct hm_str prefix, struct hm_str name, uint64_t next_ms,
			struct hm_str doc, uint64_t at_ms, struct hm_str by, hm_reply_fn fn, void *arg);
/* [name, next, doc, id, at, by, paused, runs, last] each; name empty: all. */
#define HM_SCHEDULE_ROW 9
void hm_schedule_list(struct hm_redis *r, struct hm_str prefix, struct hm_str name, hm_reply_fn fn,
		      void *arg);
/* 1: gone; 0: there was none. */
void hm_schedule_delete(struct hm_redis *r, struct hm_str prefix, struct hm_str name, hm_reply_fn fn,
			void *arg);
/* next_ms: HM_SCHEDULE_NEVER pauses it, anything else resumes. 1: changed; 0: it was so; -1: there is none. */
void hm_schedule_pause(struct hm_redis *r, struct hm_str prefix, struct hm_str name, uint64_t next_ms,
		       hm_reply_fn fn, void *arg);
/* JSON of a row. */
void hm_schedule_json(const struct hm_reply *row, struct hm_buf *b);

/* -- fire.c -- */
/* Submits the job as due at due_ms; id as stored. fn(arg, error or NULL) once, from the loop. */
typedef void (*hm_schedule_fired_fn)(void *arg, const struct hm_err *err);
void hm_schedule_fire(struct hm_redis *r, struct hm_str prefix, uint32_t partitions,
		      const struct hm_schedule *s, struct hm_str id, uint64_t due_ms, hm_schedule_fired_fn fn,
		      void *arg);
/* The clock of a process: looks twice a second at what is due. */
struct hm_schedule_clock;
struct hm_schedule_clock *hm_schedule_clock_start(struct hm_tick *t, struct hm_redis *r, struct hm_str prefix,
						  uint32_t partitions); /* NULL: out of memory */
void hm_schedule_clock_stop(struct hm_schedule_clock *c); /* before the Redis client is closed */
void hm_schedule_clock_free(struct hm_schedule_clock *c); /* after that */

#endif
