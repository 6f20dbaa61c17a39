/*
 * log.h - one event per line, with fields
 *
 *   HM_INFO(REDIS, "connected", HM_S("addr", addr), HM_U("ms", took));
 *
 * JSON lines or human text on stderr (or a file), a level per subsystem that can
 * change while running, a per-thread context (shard, ...) attached by the thread.
 * Repeats of the same call site beyond 10 a second fold into one line with a count.
 * HM_SECRET prints "***". Thread-safe; a line is one write().
 * `event` is a fixed English phrase: it is what people search for.
 */
#ifndef HM_BASE_LOG_H
#define HM_BASE_LOG_H

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

enum hm_log_level { HM_LOG_ERROR, HM_LOG_WARN, HM_LOG_INFO, HM_LOG_DEBUG, HM_LOG_TRACE };
enum hm_log_sub {
#define HM_SUB(name, text, doc) HM_SUB_##name,
#include "tbl/log_subs.h"
#undef HM_SUB
	HM_SUB_COUNT
};
enum hm_field_type { HM_FT_STR, HM_FT_I64, HM_FT_U64, HM_FT_F64, HM_FT_BOOL, HM_FT_SECRET };
struct hm_field {
	const char *key;
	enum hm_field_type type;
	union {
		struct hm_str s;
		int64_t i;
		uint64_t u;
		double f;
		bool b;
	} v;
};
#define HM_S(k, cstr)	((struct hm_field){.key = (k), .type = HM_FT_STR, .v.s = hm_str_c(cstr)})
#define HM_SV(k, str)	((struct hm_field){.key = (k), .type = HM_FT_STR, .v.s = (str)})
#define HM_I(k, x)	((struct hm_field){.key = (k), .type = HM_FT_I64, .v.i = (int64_t)(x)})
#define HM_U(k, x)	((struct hm_field){.key = (k), .type = HM_FT_U64, .v.u = (uint64_t)(x)})
#define HM_D(k, x)	((struct hm_field){.key = (k), .type = HM_FT_F64, .v.f = (double)(x)})
#define HM_B(k, x)	((struct hm_field){.key = (k), .type = HM_FT_BOOL, .v.b = (x)})
#define HM_SECRET(k, s) ((struct hm_field){.key = (k), .type = HM_FT_SECRET})
#define HM_E(e)		((struct hm_field){.key = "error", .type = HM_FT_STR, .v.s = hm_str_c((e)->text)})

struct hm_log_site { /* one per call site, static, zero at birth: storm folding */
	/* private, behind a lock in log.c */
	uint64_t window;
	uint32_t count, folded;
	uint8_t sub, level;
	const char *event;
	struct hm_log_site *next; /* sites that owe a "repeated" line */
};
extern uint8_t hm_log_levels[HM_SUB_COUNT];
void hm_log_write(struct hm_log_site *site, enum hm_log_sub sub, enum hm_log_level level, const char *event,
		  const struct hm_field *fields, size_t n);
#define HM_LOG(sub, level, event, ...)                                                                   \
	do {                                                                                             \
		if (hm_unlikely((uint8_t)(level) <=                                                      \
				__atomic_load_n(&hm_log_levels[HM_SUB_##sub], __ATOMIC_RELAXED))) {      \
			static struct hm_log_site hm_site_;                                              \
			const struct hm_field hm_f_[] = {(struct hm_field){.key = NULL}, ##__VA_ARGS__}; \
			hm_log_write(&hm_site_, HM_SUB_##sub, (level), (event), hm_f_ + 1,               \
				     hm_countof(hm_f_) - 1);                                             \
		}                                                                                        \
	} while (0)
#define HM_ERROR(sub, event, ...) HM_LOG(sub, HM_LOG_ERROR, event, ##__VA_ARGS__)
#define HM_WARN(sub, event, ...)  HM_LOG(sub, HM_LOG_WARN, event, ##__VA_ARGS__)
#define HM_INFO(sub, event, ...)  HM_LOG(sub, HM_LOG_INFO, event, ##__VA_ARGS__)
#define HM_DEBUG(sub, event, ...) HM_LOG(sub, HM_LOG_DEBUG, event, ##__VA_ARGS__)
#define HM_TRACE(sub, event, ...) HM_LOG(sub, HM_LOG_TRACE, event, ##__VA_ARGS__)

enum hm_log_format { HM_LOG_HUMAN, HM_LOG_JSON };
/* file NULL = stderr. Call once before threads start; again to reopen. */
int hm_log_open(const char *file, enum hm_log_format fmt, struct hm_err *e) HM_MUSTCHECK;
/* "info" or "info,redis=debug,h2=trace". */
int hm_log_set_levels(struct hm_str spec, struct hm_err *e) HM_MUSTCHECK;
int hm_log_check_levels(struct hm_str spec, struct hm_err *e) HM_MUSTCHECK; /* the same, changes nothing */
/* Attached to every line of this thread, e.g. "shard=1"; copied, cut to 31 bytes, at most
 * 4 keys. The same key again replaces the value; value NULL takes the key away. */
void hm_log_thread(const char *key, const char *value);
/* Writes the "repeated" lines that are owed although their call site has gone quiet. Any log
 * line does so too; call it from a slow timer and before exit. force: also for this second. */
void hm_log_flush(bool force);
const char *hm_log_level_name(enum hm_log_level level);

#endif
