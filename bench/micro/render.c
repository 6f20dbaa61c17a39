/*
 * render.c - renders per second of the templates in bench/templates, one thread
 *
 *   echo "a 2" | micro_render bench/templates
 *
 * Every line of standard input asks for one run: a template and seconds. The answer is one line:
 *   NAME RENDERS NANOSECONDS CPU_NANOSECONDS OUTPUT_BYTES ARENA_BYTES ALLOCATIONS
 * The text is compiled and the data decoded when the name is first used; a run renders into one
 * buffer, emptied each time, with an arena as a shard has it. The output is compared with NAME.out before
 * and after the run. ALLOCATIONS counts malloc and its kin, and free, inside the timed loop: this
 * program's own versions of them stand in front of libc's. render_freemarker/Render.java speaks the same lines.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json.h"
#include "tmpl/tmpl.h"

/* -- allocations ------------------------------------------------------------------------- */

static uint64_t allocations; /* calls so far, this thread being the only one */

#ifndef HM_ASAN /* which has its own */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
extern void __libc_free(void *p);

void *malloc(size_t n)
{
	allocations++;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	allocations++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	allocations++;
	return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	allocations++;
	return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	allocations++;
	*p = __libc_memalign(align, n);
	return *p ? 0 : ENOMEM;
}

void free(void *p)
{
	allocations++;
	__libc_free(p);
}
#endif

/* -- one template -------------------------------------------------------------------------- */

struct subject {
	char name[32];
	struct hm_tmpl *tmpl;
	struct hm_buf text, packed, want, out;
	msgpack_zone zone;
	msgpack_object data;
	const msgpack_object *root;
	size_t arena_bytes;
};

static struct hm_slab blocks;
static struct hm_arena arena;

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "micro_render: %s: %s\n", what, why);
	exit(1);
}

static void slurp(const char *dir, const char *name, const char *ext, struct hm_buf *b)
{
	char path[512];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s.%s", dir, name, ext);
	f = fopen(path, "rb");
	if (!f)
		die(path, "cannot be read");
	hm_buf_init(b, 1u << 20);
	do {
		if (!hm_buf_reserve(b, 4096))
			die(path, "is too large");
		n = fread(b->p + b->len, 1, 4096, f);
		b->len += n;
	} while (n > 0);
	fclose(f);
}

static uint64_t now(clockid_t c)
{
	struct timespec t;

	clock_gettime(c, &t); /* of the machine: this program measures, it has no test clock */
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void render(struct subject *s, struct hm_arena *a)
{
	const struct hm_tmpl_ctx ctx = {.roots = &s->root, .nroots = 1, .arena = a};
	struct hm_err e;

	hm_buf_reset(&s->out);
	if (hm_tmpl_render(s->tmpl, &ctx, &s->out, &e))
		die(s->name, e.text);
}

static void check(struct subject *s)
{
	render(s, &arena);
	if (!hm_str_eq(hm_buf_str(&s->out), hm_buf_str(&s->want)))
		die(s->name, "the output is not that of the .out file");
}

/* A buffer said to grow in the arena leaves the arena as it was at the end; this one has room already. */
static void measure_arena(struct subject *s)
{
	struct hm_arena_mark before, after;
	struct hm_arena a;
	struct hm_buf keep = s->out;
	struct hm_slab one;

	hm_slab_init(&one, "one block", 1u << 20, 0);
	hm_arena_init(&a, &one, 0);
	if (!hm_arena_alloc(&a, 16))
		die(s->name, "out of memory");
	before = hm_arena_mark(&a);
	s->out.arena = &a;
	render(s, &a);
	after = hm_arena_mark(&a);
	if (s->out.p != keep.p || before.block != after.block || before.big != after.big)
		die(s->name, "the arena's use cannot be told");
	s->arena_bytes = (size_t)(after.pos - before.pos);
	s->out.arena = NULL;
	hm_arena_fini(&a);
	hm_slab_fini(&one);
}

static void load(struct subject *s, const char *dir, const char *name)
{
	struct hm_tmpl_opts o = {.format = HM_TMPL_PLAIN};
	struct hm_buf json;
	struct hm_err e;

	snprintf(s->name, sizeof(s->name), "%s", name);
	slurp(dir, name, "ftl", &s->text);
	slurp(dir, name, "json", &json);
	slurp(dir, name, "out", &s->want);
	if (hm_str_starts(hm_buf_str(&s->text), HM_STR("<!DOCTYPE html>")))
		o.format = HM_TMPL_HTML;
	hm_buf_init(&s->packed, 1u << 20);
	hm_buf_init(&s->out, 1u << 20);
	msgpack_zone_init(&s->zone, 8192);
	if (hm_tmpl_compile(hm_buf_str(&s->text), &o, &s->tmpl, &e) ||
	    hm_json_to_msgpack(hm_buf_str(&json), &s->packed, &e) ||
	    hm_msgpack_decode(&s->zone, hm_buf_str(&s->packed), &s->data, &e))
		die(name, e.text);
	hm_buf_fini(&json);
	s->root = &s->data;
	check(s);
	measure_arena(s);
}

static void run(struct subject *s, double seconds)
{
	uint64_t t0, cpu0, t, renders = 0, before, end;

	check(s);
	before = allocations;
	cpu0 = now(CLOCK_THREAD_CPUTIME_ID);
	t0 = now(CLOCK_MONOTONIC);
	end = t0 + (uint64_t)(seconds * 1e9);
	do {
		for (int i = 0; i < 256; i++)
			render(s, &arena);
		renders += 256;
		t = now(CLOCK_MONOTONIC);
	} while (t < end);
	cpu0 = now(CLOCK_THREAD_CPUTIME_ID) - cpu0;
	before = allocations - before;
	check(s);
	printf("%s %llu %llu %llu %zu %zu %llu\n", s->name, (unsigned long long)renders,
	       (unsigned long long)(t - t0), (unsigned long long)cpu0, s->out.len, s->arena_bytes,
	       (unsigned long long)before);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct subject subjects[16];
	size_t n = 0, i;
	char name[32];
	double seconds;

	if (argc != 2) {
		fprintf(stderr, "usage: micro_render DIR, with lines \"NAME SECONDS\" on standard input\n");
		return 2;
	}
	hm_slab_init(&blocks, "arena", HM_ARENA_BLOCK, 0);
	hm_arena_init(&arena, &blocks, 0);
	if (!hm_arena_alloc(&arena, 16)) /* a message's arena is never empty: its block stays */
		die(argv[1], "out of memory");
#ifndef HM_ASAN
	if (allocations == 0)
		die(argv[1], "the slab made no call of malloc that was counted");
#endif
	while (scanf("%31s %lf", name, &seconds) == 2) {
		for (i = 0; i < n && strcmp(subjects[i].name, name) != 0; i++)
			;
		if (i == n) {
			if (n == hm_countof(subjects))
				die(name, "one template too many");
			load(&subjects[n++], argv[1], name);
		}
		run(&subjects[i], seconds);
	}
	for (i = 0; i < n; i++) {
		hm_tmpl_free(subjects[i].tmpl);
		msgpack_zone_destroy(&subjects[i].zone);
		hm_buf_fini(&subjects[i].text);
		hm_buf_fini(&subjects[i].packed);
		hm_buf_fini(&subjects[i].want);
		hm_buf_fini(&subjects[i].out);
	}
	hm_arena_fini(&arena);
	hm_slab_fini(&blocks);
	return 0;
}
