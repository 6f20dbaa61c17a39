/*
 * log.c - one line, one write
 *
 * A line is built in a buffer on the stack; what does not fit is cut inside the last
 * value and the line still ends well (JSON stays JSON). The lock guards only the
 * folding state of call sites, never a write.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES	  8192
#define VALUE_MAX_BYTES	  2048
#define LINES_PER_SECOND  10
#define CONTEXT_MAX	  4
#define CONTEXT_MAX_BYTES 32

uint8_t hm_log_levels[HM_SUB_COUNT] = {[0 ... HM_SUB_COUNT - 1] = HM_LOG_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace", NULL};
static const char *const sub_names[] = {
#define HM_SUB(name, text, doc) text,
#include "tbl/log_subs.h"
#undef HM_SUB
	NULL,
};

static int log_fd = STDERR_FILENO;
static enum hm_log_format log_format = HM_LOG_HUMAN;
static pthread_mutex_t fold_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hm_log_site *owing; /* sites with folded > 0 */
static bool any_owing;		  /* the same, readable without the lock */

static _Thread_local struct {
	char key[CONTEXT_MAX_BYTES], value[CONTEXT_MAX_BYTES];
} context[CONTEXT_MAX];

const char *hm_log_level_name(enum hm_log_level level)
{
	return level_names[level];
}

/* -- building a line ------------------------------------------------------- */

struct line {
	size_t len;
	char p[LINE_MAX_BYTES];
};
#define TAIL_ROOM 8 /* kept for what closes a cut line */

static void put(struct line *l, const char *p, size_t n)
{
	size_t room = sizeof(l->p) - TAIL_ROOM - l->len;

	n = hm_min(n, room);
	if (n)
		memcpy(l->p + l->len, p, n);
	l->len += n;
}

static void puts_c(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

static bool room_for(const struct line *l, size_t n)
{
	return sizeof(l->p) - TAIL_ROOM - l->len >= n;
}

/* Text with what could break the line (or the terminal) escaped; whole characters only. */
static void put_escaped(struct line *l, struct hm_str s)
{
	static const char hex[] = "0123456789abcdef";
	bool cut = s.len > VALUE_MAX_BYTES;

	s.len = hm_utf8_cut(s, VALUE_MAX_BYTES);
	for (size_t i = 0, n; i < s.len && room_for(l, 12); i += n) {
		uint32_t cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);
		char esc[7] = "\\u00";

		if (cp == '"' || cp == '\\') {
			esc[1] = (char)cp;
			put(l, esc, 2);
		} else if (cp == '\n') {
			put(l, "\\n", 2);
		} else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) {
			esc[4] = hex[cp >> 4 & 15];
			esc[5] = hex[cp & 15];
			put(l, esc, 6);
		} else if (cp == 0xfffd && n == 1) {
			put(l, "\xef\xbf\xbd", 3);
		} else {
			put(l, s.p + i, n);
		}
	}
	if (cut)
		put(l, "\xe2\x80\xa6", 3);
}

static void put_quoted(struct line *l, struct hm_str s)
{
	put(l, "\"", 1);
	put_escaped(l, s);
	l->p[l->len++] = '"'; /* from TAIL_ROOM when need be */
}

/* In human lines a value is quoted only when it would be unclear without. */
static bool needs_quotes(struct hm_str s)
{
	if (s.len == 0)
		return true;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
			return true;
	}
	return false;
}

static void put_value(struct line *l, const struct hm_field *f, bool json)
{
	char num[40];

	switch (f->type) {
	case HM_FT_STR:
		if (json || needs_quotes(f->v.s))
			put_quoted(l, f->v.s);
		else
			put(l, f->v.s.p, hm_min(f->v.s.len, (size_t)VALUE_MAX_BYTES));
		return;
	case HM_FT_I64: snprintf(num, sizeof(num), "%lld", (long long)f->v.i); break;
	case HM_FT_U64: snprintf(num, sizeof(num), "%llu", (unsigned long long)f->v.u); break;
	case HM_FT_F64:
		if (isfinite(f->v.f))
			snprintf(num, sizeof(num), "%.6g", f->v.f);
		else
			snprintf(num, sizeof(num), json ? "null" : "nan");
		break;
	case HM_FT_BOOL: snprintf(num, sizeof(num), "%s", f->v.b ? "true" : "false"); break;
	case HM_FT_SECRET: snprintf(num, sizeof(num), json ? "\"***\"" : "***"); break;
	}
	puts_c(l, num);
}

static void put_field(struct line *l, const struct hm_field *f, bool json)
{
	if (!room_for(l, strlen(f->key) + 64)) /* a key and a number; longer text is cut inside */
		return;
	if (json) {
		put(l, ",", 1);
		put_quoted(l, hm_str_c(f->key));
		put(l, ":", 1);
	} else {
		put(l, " ", 1);
		puts_c(l, f->key);
		put(l, "=", 1);
	}
	put_value(l, f, json);
}

static void write_line(enum hm_log_sub sub, enum hm_log_level level, const char *event,
		       const struct hm_field *fields, size_t n)
{
	bool json = __atomic_load_n(&log_format, __ATOMIC_RELAXED) == HM_LOG_JSON;
	char when[25];
	struct line l;
	ssize_t w;

	l.len = 0;
	hm_clock_rfc3339(hm_clock_wall_ms(), when);
	if (json) {
		puts_c(&l, "{\"time\":\"");
		puts_c(&l, when);
		puts_c(&l, "\",\"level\":\"");
		puts_c(&l, level_names[level]);
		puts_c(&l, "\",\"sub\":\"");
		puts_c(&l, sub_names[sub]);
		puts_c(&l, "\",\"event\":");
		put_quoted(&l, hm_str_c(event));
	} else {
		char head[64];

		snprintf(head, sizeof(head), "%s %-5s %-8s ", when, level_names[level], sub_names[sub]);
		puts_c(&l, head);
		puts_c(&l, event);
	}
	for (size_t i = 0; i < CONTEXT_MAX; i++)
		if (context[i].key[0])
			put_field(&l, &HM_S(context[i].key, context[i].value), json);
	for (size_t i = 0; i < n; i++)
		put_field(&l, &fields[i], json);
	if (json)
		l.p[l.len++] = '}';
	l.p[l.len++] = '\n';
	do
		w = write(__atomic_load_n(&log_fd, __ATOMIC_RELAXED), l.p, l.len);
	while (w < 0 && errno == EINTR);
	/* Any other failure: there is nobody left to tell. */
}

/* -- folding storms -------------------------------------------------------- */

static uint64_t this_second(void)
{
	return hm_clock_mono_ns() / 1000000000u + 1; /* never 0, the value of a fresh site */
}

static void write_repeated(const struct hm_log_site *owed)
{
	struct hm_field f[] = {HM_S("event", owed->event), HM_U("n", owed->folded)};

	write_line((enum hm_log_sub)owed->sub, (enum hm_log_level)owed->level, "repeated", f, 2);
}

void hm_log_flush(bool force)
{
	uint64_t now;

	if (!__atomic_load_n(&any_owing, __ATOMIC_RELAXED))
		return;
	now = this_second();
	for (;;) {
		struct hm_log_site **at, *found = NULL, copy;

		pthread_mutex_lock(&fold_lock);
		for (at = &owing; *at; at = &(*at)->next)
			if (force || (*at)->window != now)
				break;
		found = *at;
		if (found) {
			copy = *found;
			*at = found->next;
			found->folded = 0;
			found->next = NULL;
		}
		__atomic_store_n(&any_owing, owing != NULL, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&fold_lock);
		if (found == NULL)
			return;
		write_repeated(&copy);
	}
}

/* Counts this line at its site; true when it is to be written. */
static bool admit(struct hm_log_site *site, enum hm_log_sub sub, enum hm_log_level level, const char *event)
{
	uint64_t now = this_second();
	bool ok;

	pthread_mutex_lock(&fold_lock);
	if (site->window != now) {
		site->window = now;
		site->count = 0;
	}
	ok = ++site->count <= LINES_PER_SECOND;
	if (!ok) {
		if (site->folded++ == 0) {
			site->sub = (uint8_t)sub;
			site->level = (uint8_t)level;
			site->event = event;
			site->next = owing;
			owing = site;
			__atomic_store_n(&any_owing, true, __ATOMIC_RELAXED);
		}
	}
	pthread_mutex_unlock(&fold_lock);
	return ok;
}

void hm_log_write(struct hm_log_site *site, enum hm_log_sub sub, enum hm_log_level level, const char *event,
		  const struct hm_field *fields, size_t n)
{
	int saved = errno; /* a log line never changes what its caller is about to look at */

	hm_log_flush(false);
	if (site == NULL || admit(site, sub, level, event))
		write_line(sub, level, event, fields, n);
	errno = saved;
}

/* -- settings -------------------------------------------------------------- */

int hm_log_open(const char *file, enum hm_log_format fmt, struct hm_err *e)
{
	int fd = STDERR_FILENO, old = log_fd;

	if (file && file[0]) {
		fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
		if (fd < 0)
			return hm_err_set(e, HM_EIO, "the log file %s cannot be opened: %s", file,
					  strerror(errno));
	}
	__atomic_store_n(&log_format, fmt, __ATOMIC_RELAXED);
	if (fd != STDERR_FILENO && old != STDERR_FILENO) {
		/* Reopen (after rotation) in place: threads writing now never see a closed descriptor. */
		int rc = dup3(fd, old, O_CLOEXEC);

		close(fd);
		if (rc < 0)
			return hm_err_set(e, HM_EIO, "the log file %s cannot be reopened: %s", file,
					  strerror(errno));
		return 0;
	}
	__atomic_store_n(&log_fd, fd, __ATOMIC_RELAXED);
	return 0; /* from file to stderr the old descriptor stays open: another thread may be writing to it */
}

static int find(struct hm_str s, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (hm_str_is(s, names[i]))
			return i;
	return -1;
}

static int parse_levels(struct hm_str spec, uint8_t levels[HM_SUB_COUNT], struct hm_err *e)
{
	struct hm_str item;

	memcpy(levels, hm_log_levels, HM_SUB_COUNT);
	while (hm_str_split(&spec, ',', &item)) {
		ptrdiff_t eq;
		struct hm_str name;
		int sub = -1, level;

		item = hm_str_trim(item);
		eq = hm_str_chr(item, '=');
		name = eq < 0 ? item : hm_str_n(item.p + eq + 1, item.len - (size_t)eq - 1);
		level = find(name, level_names);
		if (level < 0)
			return hm_err_set(
				e, HM_EINVAL,
				"\"%.*s\" is not a log level; there are error, warn, info, debug, trace",
				HM_STRF(name));
		if (eq < 0) {
			memset(levels, level, HM_SUB_COUNT);
			continue;
		}
		name = hm_str_n(item.p, (size_t)eq);
		sub = find(name, sub_names);
		if (sub < 0) {
			const char *near = hm_str_nearest(name, sub_names);

			return hm_err_set(e, HM_EINVAL, "no part of the program logs as \"%.*s\"%s%s%s",
					  HM_STRF(name), near ? "; did you mean \"" : "", near ? near : "",
					  near ? "\"?" : "");
		}
		levels[sub] = (uint8_t)level;
	}
	return 0;
}

int hm_log_check_levels(struct hm_str spec, struct hm_err *e)
{
	uint8_t levels[HM_SUB_COUNT];

	return parse_levels(spec, levels, e);
}

int hm_log_set_levels(struct hm_str spec, struct hm_err *e)
{
	uint8_t levels[HM_SUB_COUNT];
	int rc = parse_levels(spec, levels, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < HM_SUB_COUNT; i++)
		__atomic_store_n(&hm_log_levels[i], levels[i], __ATOMIC_RELAXED);
	return 0;
}

void hm_log_thread(const char *key, const char *value)
{
	size_t at = CONTEXT_MAX;

	for (size_t i = CONTEXT_MAX; i-- > 0;)
		if (context[i].key[0] == '\0')
			at = i;
	for (size_t i = 0; i < CONTEXT_MAX; i++)
		if (strcmp(context[i].key, key) == 0)
			at = i;
	if (at == CONTEXT_MAX)
		return;
	if (value == NULL) {
		context[at].key[0] = '\0';
		return;
	}
	snprintf(context[at].key, sizeof(context[at].key), "%s", key);
	snprintf(context[at].value, sizeof(context[at].value), "%s", value);
}
