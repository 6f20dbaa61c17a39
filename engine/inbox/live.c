/*
 * live.c - listeners and the lines that feed them
 *
 *   listen ─▶ ASKING (hm_inbox_since, with a lease) ─▶ stream begun: LISTENING ◀─▶ asking again ─▶ gone
 *
 * A listener lives until both its request is gone and no question of its is under way.
 */
#include "inbox/live.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "gates/suppress.h"

#define LIVE_MAGIC     0x69626c76u
#define LISTENER_MAGIC 0x69626c73u
#define PERSON_MAGIC   0x69627073u
#define READER_MAGIC   0x69627264u
#define BUCKETS	       1024u
#define REPLAY_MAX     50 /* items told after a gap; more is a reload */
#define READ_COUNT     "200"
#define BLOCK_MS       "5000"
#define LINE_TIMEOUT   15000
#define RETRY_MS       500
#define IDLE_MS	       30000 /* a line without listeners stays so long */
#define TEXT_MAX       (8u << 20)

struct reader { /* follows the stream of a slot; freed when its command is answered */
	uint32_t magic;
	struct inbox_live *live;
	struct hm_redis_line *line; /* NULL: closed */
	struct slot *slot;
	struct hm_timer retry;
	bool busy, known;
	char last[48];
};
struct slot {
	struct reader *reader;
	struct hm_list persons; /* person.in_slot */
	struct hm_timer idle;
	struct inbox_live *live;
	uint32_t k;
	char key[HM_SUPPRESS_KEY_MAX];
	size_t key_len;
};
struct person { /* a user with listeners here */
	uint32_t magic;
	struct hm_node in_bucket, in_slot;
	struct slot *slot;
	struct hm_list listeners;
	size_t len;
	char user[];
};
struct listener {
	uint32_t magic;
	struct hm_node node; /* person->listeners */
	struct inbox_live *live;
	struct person *person;	 /* NULL: it has left */
	struct hm_http_req *req; /* NULL: it is gone */
	struct hm_inbox_ask ask;
	struct inbox_at at;
	struct hm_timer touch;
	uint64_t until_ms;
	bool busy, begun, again;
	size_t id_len;
	char id[HM_INBOX_USER_MAX];
};
struct inbox_live {
	uint32_t magic;
	struct hm_inbox *ib;
	struct slot slots[HM_SUPPRESS_SLOTS];
	struct hm_list buckets[BUCKETS];
	struct hm_slab listeners;
	struct hm_buf text;
	uint64_t serial;
	size_t lines;
	bool closed;
};

/* -- persons and slots --------------------------------------------------------------------------------- */

static struct hm_list *bucket(struct inbox_live *lv, struct hm_str user)
{
	return &lv->buckets[hm_hash64(user.p, user.len, 7) % BUCKETS];
}

static struct person *person_find(struct inbox_live *lv, struct hm_str user)
{
	hm_list_foreach (bucket(lv, user), n) {
		struct person *p = hm_container_of(n, struct person, in_bucket);

		if (hm_str_eq(hm_str_n(p->user, p->len), user))
			return p;
	}
	return NULL;
}

static void reader_open(struct slot *s);

static struct person *person_get(struct inbox_live *lv, struct hm_str user)
{
	struct slot *s = &lv->slots[hm_person_slot(user)];
	struct person *p = person_find(lv, user);

	if (p != NULL)
		return p;
	p = calloc(1, sizeof(*p) + user.len);
	if (p == NULL)
		return NULL;
	HM_MAGIC_SET(p, PERSON_MAGIC);
	hm_list_init(&p->listeners);
	p->slot = s;
	p->len = user.len;
	memcpy(p->user, user.p, user.len);
	hm_list_push(bucket(lv, user), &p->in_bucket);
	hm_list_push(&s->persons, &p->in_slot);
	hm_timer_stop(lv->ib->deps.tick, &s->idle);
	if (s->reader == NULL)
		reader_open(s);
	return p;
}

static void person_put(struct inbox_live *lv, struct person *p)
{
	struct slot *s = p->slot;

	if (!hm_list_empty(&p->listeners))
		return;
	hm_list_remove(bucket(lv, hm_str_n(p->user, p->len)), &p->in_bucket);
	hm_list_remove(&s->persons, &p->in_slot);
	HM_MAGIC_CLEAR(p);
	free(p);
	if (hm_list_empty(&s->persons) && !lv->closed)
		hm_timer_start(lv->ib->deps.tick, &s->idle, IDLE_MS);
}

/* -- listeners ----------------------------------------------------------------------------------------- */

static struct hm_inbox_ref ref_of(const struct listener *l)
{
	return inbox_ref(l->live->ib, hm_str_n(l->person->user, l->person->len));
}

static void listener_free(struct listener *l)
{
	struct inbox_live *lv = l->live;

	HM_MAGIC_CLEAR(l);
	hm_slab_free(&lv->listeners, l);
}

/* Nobody listens any more. Frees it unless a question is under way, whose answer does. */
static void leave(struct listener *l)
{
	struct inbox_live *lv = l->live;
	struct hm_inbox_ref who = ref_of(l);
	struct person *p = l->person;

	hm_timer_stop(lv->ib->deps.tick, &l->touch);
	if (!lv->closed)
		hm_inbox_leave(&who, hm_str_n(l->id, l->id_len));
	hm_list_remove(&p->listeners, &l->node);
	l->person = NULL;
	l->req = NULL;
	person_put(lv, p);
	hm_stats_sub(lv->ib->deps.tick->stats, HM_CT_INBOX_STREAMS, 1);
	if (!l->busy)
		listener_free(l);
}

static void on_fini(struct hm_http_req *r)
{
	struct listener *l = r->state;

	HM_CHECK(l, LISTENER_MAGIC);
	leave(l);
}

/* Its end comes with fini, from the loop. */
static void tell(struct listener *l, struct hm_str events)
{
	if (events.len > 0 && l->req != NULL && hm_http_stream_write(l->req, events))
		hm_stats_inc(l->live->ib->deps.tick->stats, HM_CT_INBOX_EVENTS);
}

static void told(struct listener *l, const struct hm_inbox_counts *c)
{
	l->at = (struct inbox_at){.known = true, .n = c->arrivals, .v = c->version};
}

static void ask(struct listener *l, hm_inbox_page_fn fn)
{
	struct hm_inbox_ref who = ref_of(l);
	struct hm_inbox_since q = {.after = l->at.n,
				   .limit = l->at.known ? REPLAY_MAX : 0,
				   .listener = hm_str_n(l->id, l->id_len),
				   .lease_ms = INBOX_LEASE_MS,
				   .max_listeners = (uint32_t)l->live->ib->settings->inbox.streams_per_user};

	l->busy = true;
	l->again = false;
	hm_inbox_since(&who, &q, &l->ask, fn, l);
}

static void on_caught_up(void *arg, const struct hm_inbox_page *p, const struct hm_err *err)
{
	struct listener *l = arg;
	struct hm_buf *b = &l->live->text;

	HM_CHECK(l, LISTENER_MAGIC);
	l->busy = false;
	if (l->req == NULL) {
		listener_free(l);
		return;
	}
	if (err != NULL || p->refused) /* when it is touched next */
		return;
	hm_buf_reset(b);
	inbox_event_missed(b, &l->at, p);
	told(l, &p->counts);
	if (b->err == 0)
		tell(l, hm_buf_str(b));
	else
		hm_http_stream_end(l->req);
	if (l->again && !l->busy)
		ask(l, on_caught_up);
}

static void catch_up(struct listener *l)
{
	if (l->busy)
		l->again = true;
	else
		ask(l, on_caught_up);
}

static void arm(struct listener *l)
{
	struct hm_tick *t = l->live->ib->deps.tick;
	uint64_t left = l->until_ms > t->wall_ms ? l->until_ms - t->wall_ms : 0;

	hm_timer_start(t, &l->touch, l->until_ms ? hm_min(left, (uint64_t)INBOX_TOUCH_MS) : INBOX_TOUCH_MS);
}

static void on_touch(struct hm_timer *tm)
{
	struct listener *l = hm_container_of(tm, struct listener, touch);

	HM_CHECK(l, LISTENER_MAGIC);
	if (l->until_ms && l->until_ms <= l->live->ib->deps.tick->wall_ms) {
		tell(l, HM_STR("event: end\ndata: {\"reason\":\"token\"}\n\n"));
		hm_http_stream_end(l->req);
		return;
	}
	(void)!hm_http_stream_write(l->req, HM_STR(":\n\n")); /* false: its end is on the way */
	catch_up(l);
	arm(l);
}

static void begin(struct listener *l, const struct hm_inbox_page *p)
{
	struct hm_http_req *r = l->req;
	struct hm_buf *b = &l->live->text;
	struct inbox_at before = l->at;

	if (!hm_http_stream_begin(r, inbox_cors(r))) {
		leave(l);
		return;
	}
	r->state = l;
	r->fini = on_fini;
	l->begun = true;
	hm_buf_reset(b);
	hm_buf_lit(b, "retry: 3000\n");
	if (before.known && before.n <= p->counts.arrivals) {
		/* Without an id of its own: what follows is what it is about. */
		hm_buf_lit(b, "event: counts\ndata: {\"counts\":");
		hm_inbox_counts_json(&p->counts, b);
		hm_buf_printf(b, ",\"at\":\"%llu.%llu\"}\n\n", (unsigned long long)before.n,
			      (unsigned long long)before.v);
		inbox_event_missed(b, &before, p);
	} else {
		inbox_event_counts(b, before.known ? "reload" : "counts", &p->counts);
	}
	told(l, &p->counts);
	tell(l, hm_buf_str(b));
	arm(l);
	/* What the stream had before its reader knew where it is came in between. */
	if (l->again)
		ask(l, on_caught_up);
}

static void on_joined(void *arg, const struct hm_inbox_page *p, const struct hm_err *err)
{
	struct listener *l = arg;
	struct hm_inbox *ib = l->live->ib;
	struct hm_http_req *r = l->req;

	HM_CHECK(l, LISTENER_MAGIC);
	l->busy = false;
	if (err == NULL && !p->refused && r->conn != NULL && !l->live->closed) {
		inbox_report_again(ib, hm_str_n(l->person->user, l->person->len), p->unreported,
				   p->n_unreported);
		begin(l, p); /* l may be gone */
	} else {
		if (err != NULL)
			inbox_problem_redis(r, err);
		else if (p->refused)
			inbox_problem(r, HM_PROBLEM_TOO_MANY, NULL,
				      "this user has as many streams as inbox.streams_per_user allows");
		else
			inbox_problem(r, HM_PROBLEM_BUSY, NULL, "nobody listens");
		leave(l);
	}
	hm_http_release(r);
}

void inbox_listen(struct inbox_live *lv, struct hm_http_req *r, const struct inbox_who *who,
		  const struct inbox_at *at)
{
	struct hm_tick *t = lv->ib->deps.tick;
	struct listener *l;
	int n;

	HM_CHECK(lv, LIVE_MAGIC);
	if (lv->closed ||
	    hm_stats_sum(HM_CT_INBOX_STREAMS) >= (uint64_t)lv->ib->settings->inbox.max_streams) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL,
			      "all streams of this process are taken (inbox.max_streams)");
		return;
	}
	l = hm_slab_alloc(&lv->listeners);
	if (l == NULL) {
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
		return;
	}
	memset(l, 0, sizeof(*l));
	l->person = person_get(lv, who->user);
	if (l->person == NULL) {
		hm_slab_free(&lv->listeners, l);
		inbox_problem(r, HM_PROBLEM_BUSY, NULL, "out of memory");
		return;
	}
	HM_MAGIC_SET(l, LISTENER_MAGIC);
	l->live = lv;
	l->req = r;
	l->at = *at;
	l->until_ms = who->until_ms;
	hm_timer_init(&l->touch, on_touch);
	hm_list_push(&l->person->listeners, &l->node);
	n = snprintf(l->id, sizeof(l->id), "%.*s:%llx", HM_STRF(lv->ib->deps.name),
		     (unsigned long long)++lv->serial ^ (unsigned long long)t->wall_ms << 20);
	l->id_len = hm_min((size_t)n, sizeof(l->id) - 1);
	hm_stats_inc(t->stats, HM_CT_INBOX_STREAMS);
	hm_http_hold(r);
	ask(l, on_joined);
}

/* -- news ---------------------------------------------------------------------------------------------- */

static void spread(struct inbox_live *lv, const struct hm_inbox_news *x)
{
	struct person *p = person_find(lv, x->user);
	struct hm_buf *b = &lv->text;

	if (p == NULL)
		return;
	hm_buf_reset(b);
	hm_list_foreach_safe (&p->listeners, n, next) {
		struct listener *l = hm_container_of(n, struct listener, node);

		HM_CHECK(l, LISTENER_MAGIC);
		if (l->busy || !l->begun) {
			l->again = true;
			continue;
		}
		if (x->counts.version <= l->at.v)
			continue;
		if (x->before != l->at.v) {
			ask(l, on_caught_up);
			continue;
		}
		if (b->len == 0)
			inbox_event_news(b, x);
		if (b->err)
			continue;
		told(l, &x->counts);
		tell(l, hm_buf_str(b));
	}
}

static void read_entries(struct reader *rd, const struct hm_reply *list)
{
	struct hm_inbox_news x;

	for (size_t i = 0; list != NULL && i < list->n; i++) {
		const struct hm_reply *id = hm_reply_at(&list->v[i], 0);

		if (id != NULL && id->s.len < sizeof(rd->last)) {
			memcpy(rd->last, id->s.p, id->s.len);
			rd->last[id->s.len] = '\0';
		}
		if (hm_inbox_read_news(hm_reply_at(&list->v[i], 1), &x))
			spread(rd->live, &x);
	}
}

/* -- readers ------------------------------------------------------------------------------------------- */

static void follow(struct reader *rd);

/* True: the line is closed, and with this answer all is over. */
static bool over(struct reader *rd)
{
	HM_CHECK(rd, READER_MAGIC);
	rd->busy = false;
	if (rd->line != NULL)
		return false;
	HM_MAGIC_CLEAR(rd);
	free(rd);
	return true;
}

static void on_read(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct reader *rd = arg;

	if (over(rd))
		return;
	if (reply == NULL) {
		if (err->code == HM_EREDIS)
			HM_ERROR(HTTP, "the changes of inboxes cannot be read", HM_E(err));
		hm_timer_start(rd->live->ib->deps.tick, &rd->retry, RETRY_MS);
		return;
	}
	read_entries(rd, hm_reply_at(hm_reply_at(reply, 0), 1));
	follow(rd);
}

/* From here on nothing is missed; what came before is asked for. */
static void on_position(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct reader *rd = arg;
	const struct hm_reply *id;

	if (over(rd))
		return;
	if (reply == NULL) {
		hm_timer_start(rd->live->ib->deps.tick, &rd->retry, RETRY_MS);
		return;
	}
	id = hm_reply_at(hm_reply_at(reply, 0), 0);
	snprintf(rd->last, sizeof(rd->last), "%.*s", (int)hm_min(id ? id->s.len : 3, sizeof(rd->last) - 1),
		 id ? id->s.p : "0-0");
	rd->known = true;
	hm_list_foreach (&rd->slot->persons, n) {
		struct person *p = hm_container_of(n, struct person, in_slot);

		hm_list_foreach (&p->listeners, m)
			catch_up(hm_container_of(m, struct listener, node));
	}
	follow(rd);
}

static void follow(struct reader *rd)
{
	struct hm_str key = hm_str_n(rd->slot->key, rd->slot->key_len);
	const struct hm_str newest[] = {HM_STR("XREVRANGE"), key,	 HM_STR("+"), HM_STR("-"),
					HM_STR("COUNT"),     HM_STR("1")};
	const struct hm_str next[] = {HM_STR("XREAD"),
				      HM_STR("COUNT"),
				      HM_STR(READ_COUNT),
				      HM_STR("BLOCK"),
				      HM_STR(BLOCK_MS),
				      HM_STR("STREAMS"),
				      key,
				      hm_str_c(rd->last)};

	HM_CHECK(rd, READER_MAGIC);
	if (rd->busy || rd->line == NULL || !hm_redis_line_up(rd->line))
		return;
	rd->busy = true;
	if (rd->known)
		hm_redis_line_send(rd->line, next, hm_countof(next), LINE_TIMEOUT, on_read, rd);
	else
		hm_redis_line_send(rd->line, newest, hm_countof(newest), LINE_TIMEOUT, on_position, rd);
}

static void on_up(void *arg)
{
	follow(arg);
}

static void on_retry(struct hm_timer *t)
{
	follow(hm_container_of(t, struct reader, retry));
}

static void reader_open(struct slot *s)
{
	struct inbox_live *lv = s->live;
	struct reader *rd = calloc(1, sizeof(*rd));

	if (rd == NULL)
		return; /* touched listeners ask by themselves */
	rd->line = hm_redis_line_open(lv->ib->redis, hm_str_n(s->key, s->key_len));
	if (rd->line == NULL) {
		free(rd);
		return;
	}
	HM_MAGIC_SET(rd, READER_MAGIC);
	rd->live = lv;
	rd->slot = s;
	hm_timer_init(&rd->retry, on_retry);
	s->reader = rd;
	lv->lines++;
	hm_redis_line_on_up(rd->line, on_up, rd);
	follow(rd);
}

static void reader_close(struct slot *s)
{
	struct reader *rd = s->reader;
	struct hm_redis_line *line;

	if (rd == NULL)
		return;
	HM_CHECK(rd, READER_MAGIC);
	hm_timer_stop(s->live->ib->deps.tick, &rd->retry);
	s->reader = NULL;
	s->live->lines--;
	line = rd->line;
	rd->line = NULL;
	hm_redis_line_on_up(line, NULL, NULL);
	hm_redis_line_close(line);
	if (!rd->busy) {
		HM_MAGIC_CLEAR(rd);
		free(rd);
	}
}

static void on_idle(struct hm_timer *t)
{
	struct slot *s = hm_container_of(t, struct slot, idle);

	if (hm_list_empty(&s->persons))
		reader_close(s);
}

/* -- life ---------------------------------------------------------------------------------------------- */

bool inbox_at_parse(struct hm_str s, struct inbox_at *at)
{
	struct hm_str n;

	*at = (struct inbox_at){.known = false};
	if (s.len == 0)
		return true;
	at->known = hm_str_split(&s, '.', &n) && hm_str_u64(n, &at->n) && hm_str_u64(s, &at->v) &&
		    at->n >> 40 == 0;
	return at->known;
}

struct inbox_live *inbox_live_new(struct hm_inbox *ib)
{
	struct inbox_live *lv = calloc(1, sizeof(*lv));

	if (lv == NULL)
		return NULL;
	HM_MAGIC_SET(lv, LIVE_MAGIC);
	lv->ib = ib;
	hm_slab_init(&lv->listeners, "inbox listeners", sizeof(struct listener), 0);
	hm_buf_init(&lv->text, TEXT_MAX);
	for (uint32_t k = 0; k < HM_SUPPRESS_SLOTS; k++) {
		struct slot *s = &lv->slots[k];

		s->live = lv;
		s->k = k;
		hm_list_init(&s->persons);
		hm_timer_init(&s->idle, on_idle);
		s->key_len = hm_inbox_live_key(ib->deps.prefix, k, s->key, sizeof(s->key));
	}
	for (size_t i = 0; i < BUCKETS; i++)
		hm_list_init(&lv->buckets[i]);
	return lv;
}

void inbox_live_close(struct inbox_live *lv)
{
	HM_CHECK(lv, LIVE_MAGIC);
	lv->closed = true;
	for (uint32_t k = 0; k < HM_SUPPRESS_SLOTS; k++) {
		hm_timer_stop(lv->ib->deps.tick, &lv->slots[k].idle);
		reader_close(&lv->slots[k]);
	}
}

void inbox_live_free(struct inbox_live *lv)
{
	if (lv == NULL)
		return;
	HM_CHECK(lv, LIVE_MAGIC);
	hm_slab_fini(&lv->listeners);
	hm_buf_fini(&lv->text);
	HM_MAGIC_CLEAR(lv);
	free(lv);
}

size_t inbox_live_count(const struct inbox_live *lv)
{
	return lv->listeners.live;
}

size_t inbox_live_lines(const struct inbox_live *lv)
{
	return lv->lines;
}
