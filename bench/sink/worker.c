/*
 * worker.c - the loop of a worker: mail, delays, requests' memory
 */
#include "worker.h"

#include <stdlib.h>

#include "conn.h"
#include "script.h"

#define MAX_FREE_REQS 8192
#define LINGER	      1000	  /* ms */
#define KEEP_BUFFER   (64u << 10) /* bigger request buffers are not kept for the next one */

/* -- random numbers: xoshiro256** -------------------------------------------- */

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

uint64_t sink_rand(struct sink_worker *w)
{
	uint64_t *s = w->rng, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

double sink_rand_unit(struct sink_worker *w)
{
	return (double)(sink_rand(w) >> 11) * 0x1.0p-53;
}

static void seed(struct sink_worker *w, uint64_t x)
{
	for (size_t i = 0; i < 4; i++) { /* splitmix64 */
		uint64_t z = x += 0x9e3779b97f4a7c15u;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		w->rng[i] = z ^ z >> 31;
	}
}

/* -- requests ------------------------------------------------------------------- */

struct sink_req *req_new(struct sink_worker *w, struct sink_conn *c)
{
	struct sink_req *r = w->free_reqs;

	if (r) {
		w->free_reqs = r->next_free;
		w->n_free_reqs--;
	} else {
		r = calloc(1, sizeof(*r));
		if (!r)
			return NULL;
		hm_buf_init(&r->data, SINK_MAX_HEAD + 4096 + w->sink->options->max_body);
		hm_buf_init(&r->out, 8 << 20);
		hm_buf_init(&r->hdr, 16 << 10);
	}
	HM_MAGIC_SET(r, SINK_REQ_MAGIC);
	r->state = REQ_READING;
	r->conn = c;
	r->stream_id = 0;
	r->n_headers = 0;
	r->head_too_big = r->body_too_big = r->keep_alive = r->head_method = false;
	r->deferred = r->stalled = r->head_sent = false;
	r->has_scheme = r->malformed = false;
	r->authority = r->authority_len = 0;
	r->content_length = -1;
	r->path = r->path_len = r->method = r->method_len = r->body = r->body_len = 0;
	r->sent = 0;
	r->profile = 0;
	r->target = HM_STR_NULL;
	r->script = NULL;
	r->script_asked = false;
	hm_buf_reset(&r->data);
	hm_buf_reset(&r->out);
	hm_buf_reset(&r->hdr);
	r->reply.n_h = 0;
	r->reply.status = 200;
	r->reply.type = r->reply.body = HM_STR_NULL;
	r->reply.fill = 0;
	r->reply.delay_ms = r->reply.trickle_ms = 0;
	r->reply.fault = FAULT_NONE;
	r->reply.accepted = false;
	hm_list_push(&c->reqs, &r->node);
	return r;
}

void req_free(struct sink_req *r)
{
	struct sink_conn *c = r->conn;
	struct sink_worker *w = c->worker;

	HM_CHECK(r, SINK_REQ_MAGIC);
	scripts_done(r->script);
	r->script = NULL;
	hm_list_remove(&c->reqs, &r->node);
	hm_heap_remove(&w->heap, &r->timer);
	if (c->cur == r)
		c->cur = NULL;
	HM_MAGIC_CLEAR(r);
	if (w->n_free_reqs >= MAX_FREE_REQS || r->data.cap > KEEP_BUFFER || r->out.cap > KEEP_BUFFER) {
		hm_buf_fini(&r->data);
		hm_buf_fini(&r->out);
		hm_buf_fini(&r->hdr);
		free(r);
		return;
	}
	r->next_free = w->free_reqs;
	w->free_reqs = r;
	w->n_free_reqs++;
}

bool req_put(struct sink_req *r, const void *p, size_t n, size_t limit)
{
	if (r->data.len + n > limit)
		return false;
	hm_buf_put(&r->data, p, n);
	return r->data.err == 0;
}

bool req_put_header(struct sink_req *r, const char *name, struct hm_str value)
{
	struct sink_header *h = &r->headers[r->n_headers];
	size_t n = strlen(name);

	if (r->n_headers == SINK_MAX_HEADERS || !req_put(r, name, n, SINK_MAX_HEAD) ||
	    !req_put(r, value.p, value.len, SINK_MAX_HEAD))
		return false;
	h->value = (uint32_t)(r->data.len - value.len);
	h->value_len = (uint32_t)value.len;
	h->name = (uint32_t)(h->value - n);
	h->name_len = (uint32_t)n;
	r->n_headers++;
	return true;
}

struct hm_str req_header(const struct sink_req *r, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < r->n_headers; i++)
		if (r->headers[i].name_len == n && memcmp(r->data.p + r->headers[i].name, name, n) == 0)
			return req_header_value(r, i);
	return HM_STR_NULL;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct hm_str form_decode(struct hm_str v, struct hm_buf *out)
{
	size_t start = out->len;

	if (!v.len || (!memchr(v.p, '%', v.len) && !memchr(v.p, '+', v.len)))
		return v.p ? v : HM_STR("");
	for (size_t i = 0; i < v.len; i++) {
		int hi, lo;

		if (v.p[i] == '%' && i + 2 < v.len && (hi = hex_value(v.p[i + 1])) >= 0 &&
		    (lo = hex_value(v.p[i + 2])) >= 0) {
			hm_buf_putc(out, (char)(hi << 4 | lo));
			i += 2;
		} else {
			hm_buf_putc(out, v.p[i] == '+' ? ' ' : v.p[i]);
		}
	}
	return out->err ? HM_STR_NULL : hm_str_n(out->p + start, out->len - start);
}

struct hm_str form_get(struct hm_str form, const char *name, struct hm_buf *out)
{
	struct hm_str part;

	while (hm_str_split(&form, '&', &part)) {
		ptrdiff_t eq = hm_str_chr(part, '=');
		struct hm_str key = eq < 0 ? part : hm_str_n(part.p, (size_t)eq);

		if (hm_str_is(key, name))
			return eq < 0 ? HM_STR("")
				      : form_decode(hm_str_n(part.p + eq + 1, part.len - (size_t)eq - 1),
						    out);
	}
	return HM_STR_NULL;
}

struct hm_str req_query(const struct sink_req *r, const char *name, struct hm_buf *out)
{
	struct hm_str url = req_url(r);
	ptrdiff_t q = hm_str_chr(url, '?');

	if (q < 0)
		return HM_STR_NULL;
	return form_get(hm_str_n(url.p + q + 1, url.len - (size_t)q - 1), name, out);
}

/* -- time ------------------------------------------------------------------------ */

void worker_tick(struct sink_worker *w)
{
	w->now_ms = hm_clock_wall_ms();
}

static void arm_timer(struct sink_worker *w);

static void on_timer(uv_timer_t *t)
{
	struct sink_worker *w = t->data;
	struct hm_heap_node *n;
	uint64_t now = uv_now(&w->loop);

	HM_CHECK(w, SINK_WORKER_MAGIC);
	worker_tick(w);
	while ((n = hm_heap_min(&w->heap)) && n->key <= now) {
		hm_heap_remove(&w->heap, n);
		conn_timer(hm_container_of(n, struct sink_req, timer));
	}
	arm_timer(w);
	worker_flush(w);
}

static void arm_timer(struct sink_worker *w)
{
	struct hm_heap_node *n = hm_heap_min(&w->heap);
	uint64_t now = uv_now(&w->loop);

	if (n)
		uv_timer_start(&w->timer, on_timer, n->key > now ? n->key - now : 0, 0);
}

void worker_delay(struct sink_worker *w, struct sink_req *r, uint64_t ms)
{
	uint64_t key = uv_now(&w->loop) + ms;
	struct hm_heap_node *first = hm_heap_min(&w->heap);
	bool sooner = !first || key < first->key;

	if (!hm_heap_push(&w->heap, &r->timer, key)) {
		r->conn->doom = DOOM_NOW; /* out of memory: this connection pays */
		conn_touch(r->conn);
		return;
	}
	if (sooner)
		arm_timer(w);
}

static void on_sweep(uv_timer_t *t)
{
	struct sink_worker *w = t->data;
	uint64_t idle = w->sink->options->idle_timeout;

	worker_tick(w);
	hm_list_foreach (&w->conns, n) {
		struct sink_conn *c = hm_container_of(n, struct sink_conn, node);

		if ((idle && w->now_ms > c->last_ms + idle) ||
		    (c->linger_ms && w->now_ms > c->linger_ms + LINGER)) {
			c->doom = DOOM_NOW;
			conn_touch(c);
		}
	}
	worker_flush(w);
}

void worker_flush(struct sink_worker *w)
{
	struct hm_node *n;

	while ((n = hm_list_pop(&w->dirty))) {
		struct sink_conn *c = hm_container_of(n, struct sink_conn, dirty_node);
		bool sent;

		conn_flush(c);
		sent = !c->writing && c->pending.len == 0;
		if (c->mute && c->doom < DOOM_NOW)
			continue;
		if (c->doom >= DOOM_NOW)
			conn_close(c);
		else if (sent && (c->doom == DOOM_AFTER_FLUSH || h2_finished(c)))
			conn_linger(c);
	}
}

/* -- mail ------------------------------------------------------------------------ */

static void post(struct sink_worker *w, struct worker_job *j)
{
	j->next = NULL;
	pthread_mutex_lock(&w->lock);
	*w->jobs_tail = j;
	w->jobs_tail = &j->next;
	pthread_mutex_unlock(&w->lock);
	uv_async_send(&w->mail);
}

static void stop(struct sink_worker *w)
{
	struct hm_node *n;

	w->stopping = true;
	while ((n = hm_list_first(&w->conns)))
		conn_close(hm_container_of(n, struct sink_conn, node));
	uv_close((uv_handle_t *)&w->mail, NULL);
	uv_close((uv_handle_t *)&w->timer, NULL);
	uv_close((uv_handle_t *)&w->sweep, NULL);
}

static void on_mail(uv_async_t *a)
{
	struct sink_worker *w = a->data;
	struct worker_job *j, *next;

	HM_CHECK(w, SINK_WORKER_MAGIC);
	worker_tick(w);
	pthread_mutex_lock(&w->lock);
	j = w->jobs;
	w->jobs = NULL;
	w->jobs_tail = &w->jobs;
	pthread_mutex_unlock(&w->lock);
	for (; j; j = next) {
		next = j->next;
		switch (j->kind) {
		case JOB_CONN:
			conn_new(w, j->fd, j->via);
			free(j);
			break;
		case JOB_CALL:
			j->fn(w, j->arg);
			worker_flush(w);
			sem_post(j->done); /* j is gone after this */
			break;
		case JOB_STOP:
			stop(w);
			free(j);
			break;
		}
	}
	if (!w->stopping)
		worker_flush(w);
}

void worker_give_conn(struct sink *s, unsigned index, int fd, enum listener via)
{
	struct worker_job *j = calloc(1, sizeof(*j));

	if (!j) {
		close(fd);
		atomic_fetch_sub(&s->open_conns, 1);
		return;
	}
	j->kind = JOB_CONN;
	j->fd = fd;
	j->via = via;
	post(&s->workers[index], j);
}

void worker_call_all(struct sink *s, worker_call_fn *fn, void *arg)
{
	struct worker_job jobs[64];
	sem_t done;

	hm_assert(s->n_workers <= hm_countof(jobs));
	sem_init(&done, 0, 0);
	for (unsigned i = 0; i < s->n_workers; i++) {
		jobs[i] = (struct worker_job){.kind = JOB_CALL, .fn = fn, .arg = arg, .done = &done};
		post(&s->workers[i], &jobs[i]);
	}
	for (unsigned i = 0; i < s->n_workers; i++)
		while (sem_wait(&done) != 0)
			;
	sem_destroy(&done);
}

/* -- life ------------------------------------------------------------------------ */

static void *run(void *arg)
{
	struct sink_worker *w = arg;

	uv_run(&w->loop, UV_RUN_DEFAULT);
	return NULL;
}

static int worker_init(struct sink *s, struct sink_worker *w, unsigned index)
{
	HM_MAGIC_SET(w, SINK_WORKER_MAGIC);
	w->index = index;
	w->sink = s;
	w->knobs = s->knobs;
	w->jobs_tail = &w->jobs;
	pthread_mutex_init(&w->lock, NULL);
	hm_list_init(&w->conns);
	hm_list_init(&w->dirty);
	hm_heap_init(&w->heap);
	seed(w, s->options->seed + index * 0x1000003u);
	hm_buf_init(&w->scratch, 256 << 20);
	w->counts = calloc(SINK_MAX_PROFILES, sizeof(*w->counts));
	w->rbuf = malloc(WORKER_READ);
	w->plain = malloc(WORKER_PLAIN);
	w->cipher = malloc(WORKER_CIPHER);
	w->bio = conn_bio_new();
	if (!w->counts || !w->rbuf || !w->plain || !w->cipher || !w->bio || h2_worker_init(w) != 0)
		return -1;
	h1_worker_init(w);
	if (uv_loop_init(&w->loop) != 0 || uv_async_init(&w->loop, &w->mail, on_mail) != 0)
		return -1;
	uv_timer_init(&w->loop, &w->timer);
	uv_timer_init(&w->loop, &w->sweep);
	w->mail.data = w->timer.data = w->sweep.data = w;
	uv_timer_start(&w->sweep, on_sweep, 1000, 1000);
	worker_tick(w);
	return 0;
}

int workers_start(struct sink *s, struct hm_err *e)
{
	s->n_workers = (unsigned)s->options->threads;
	s->workers = calloc(s->n_workers, sizeof(*s->workers));
	if (!s->workers)
		return hm_err_set(e, HM_ENOMEM, "out of memory for %u workers", s->n_workers);
	for (unsigned i = 0; i < s->n_workers; i++) {
		if (worker_init(s, &s->workers[i], i) != 0)
			return hm_err_set(e, HM_ENOMEM, "cannot set up worker %u", i);
		if (pthread_create(&s->workers[i].thread, NULL, run, &s->workers[i]) != 0)
			return hm_err_set(e, HM_EIO, "cannot start the thread of worker %u", i);
		s->workers[i].started = true;
	}
	return 0;
}

static void worker_fini(struct sink_worker *w)
{
	struct sink_req *r;

	while ((r = w->free_reqs)) {
		w->free_reqs = r->next_free;
		hm_buf_fini(&r->data);
		hm_buf_fini(&r->out);
		hm_buf_fini(&r->hdr);
		free(r);
	}
	for (size_t i = 0; i < SINK_MAX_PROFILES; i++)
		free(w->profile_data[i]);
	uv_loop_close(&w->loop);
	h2_worker_fini(w);
	BIO_meth_free(w->bio);
	hm_heap_fini(&w->heap);
	hm_buf_fini(&w->scratch);
	pthread_mutex_destroy(&w->lock);
	free(w->counts);
	free(w->rbuf);
	free(w->plain);
	free(w->cipher);
}

void workers_stop(struct sink *s)
{
	for (unsigned i = 0; i < s->n_workers; i++) {
		struct worker_job *j;

		if (!s->workers[i].started)
			continue;
		j = calloc(1, sizeof(*j));
		hm_assert(j);
		j->kind = JOB_STOP;
		post(&s->workers[i], j);
	}
	for (unsigned i = 0; i < s->n_workers; i++) {
		if (!s->workers[i].started)
			continue;
		pthread_join(s->workers[i].thread, NULL);
		worker_fini(&s->workers[i]);
	}
	free(s->workers);
	s->workers = NULL;
	s->n_workers = 0;
}
