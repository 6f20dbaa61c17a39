/* Arena, slab, buffer, list, heap, id map; and every allocation failed once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/heap.h"
#include "base/idmap.h"
#include "base/list.h"

static void test_slab(void **state)
{
	struct hm_slab s;
	void *v[100];

	hm_slab_init(&s, "t", 40, 0);
	assert_int_equal(s.size, 48);
	for (size_t i = 0; i < 100; i++) {
		v[i] = hm_slab_alloc(&s);
		assert_non_null(v[i]);
		assert_int_equal((uintptr_t)v[i] % 16, 0);
		memset(v[i], (int)i, 40);
	}
	assert_int_equal(s.live, 100);
	for (size_t i = 0; i < 100; i++) {
		assert_int_equal(*(unsigned char *)v[i], i);
		hm_slab_free(&s, v[i]);
	}
	assert_int_equal(s.live, 0);
	size_t total = s.total;

	for (size_t i = 0; i < 100; i++) /* the same memory again */
		v[i] = hm_slab_alloc(&s);
	assert_int_equal(s.total, total);
	for (size_t i = 0; i < 100; i++)
		hm_slab_free(&s, v[i]);
	hm_slab_fini(&s);
}

static void test_slab_max(void **state)
{
	struct hm_slab s;
	void *v[3];

	hm_slab_init(&s, "t", 16, 3);
	for (size_t i = 0; i < 3; i++) {
		v[i] = hm_slab_alloc(&s);
		assert_non_null(v[i]);
	}
	assert_null(hm_slab_alloc(&s));
	hm_slab_free(&s, v[1]);
	v[1] = hm_slab_alloc(&s);
	assert_non_null(v[1]);
	for (size_t i = 0; i < 3; i++)
		hm_slab_free(&s, v[i]);
	hm_slab_fini(&s);
}

static void arena_story(struct hm_slab *pool)
{
	struct hm_arena a;
	struct hm_arena_mark m;
	uint64_t big = hm_arena_big();
	char *p, *q;

	hm_arena_init(&a, pool, 0);
	p = hm_arena_alloc(&a, 5);
	memcpy(p, "hello", 5);
	assert_ptr_equal(hm_arena_grow(&a, p, 5, 40), p); /* the last allocation grows in place */
	q = hm_arena_alloc(&a, 1);
	assert_int_equal((uintptr_t)q % 16, 0);
	p = hm_arena_grow(&a, p, 40, 64); /* now it cannot */
	assert_memory_equal(p, "hello", 5);
	m = hm_arena_mark(&a);
	for (int i = 0; i < 1000; i++)
		assert_non_null(hm_arena_zalloc(&a, 100));
	assert_non_null(hm_arena_alloc(&a, 100000));
	assert_int_equal(hm_arena_big(), big + 1);
	hm_arena_rewind(&a, m);
	assert_memory_equal(p, "hello", 5);
	assert_true(a.used == m.used);
	assert_string_equal(hm_arena_strdup(&a, HM_STR("abc")), "abc");
	assert_true(hm_str_is(hm_arena_printf(&a, "%d-%s", 7, "x"), "7-x"));
	hm_arena_reset(&a);
	assert_true(a.used <= HM_ARENA_BLOCK);
	assert_non_null(hm_arena_alloc(&a, 3000));
	assert_true(a.used <= HM_ARENA_BLOCK); /* the kept block was enough */
	hm_arena_fini(&a);
	assert_int_equal(a.used, 0);
}

static void test_arena(void **state)
{
	struct hm_slab pool;

	arena_story(NULL);
	hm_slab_init(&pool, "arena", HM_ARENA_BLOCK, 0);
	arena_story(&pool);
	assert_int_equal(pool.live, 0);
	hm_slab_fini(&pool);
}

static void test_arena_limit(void **state)
{
	struct hm_arena a;
	size_t n = 0;

	hm_arena_init(&a, NULL, 64 * 1024);
	assert_null(hm_arena_alloc(&a, 65 * 1024));
	assert_null(hm_arena_alloc(&a, SIZE_MAX));
	assert_null(hm_arena_alloc(&a, SIZE_MAX - 40));
	while (hm_arena_alloc(&a, 1000))
		n++;
	assert_in_range(n, 50, 65);
	hm_arena_fini(&a);
	hm_arena_reset(&a); /* harmless when empty */
}

static void test_buf(void **state)
{
	struct hm_arena a;
	struct hm_buf b;

	hm_buf_init(&b, 10);
	assert_string_equal(hm_buf_cstr(&b), "");
	hm_buf_lit(&b, "hello");
	hm_buf_putc(&b, ' ');
	hm_buf_put(&b, "abcd", 4);
	assert_string_equal(hm_buf_cstr(&b), "hello abcd"); /* exactly at the ceiling */
	hm_buf_putc(&b, 'x');
	assert_int_equal(b.err, HM_ELIMIT);
	assert_int_equal(b.len, 10);
	assert_string_equal(hm_buf_cstr(&b), "");
	hm_buf_reset(&b);
	hm_buf_puts(&b, HM_STR("xyz"));
	assert_string_equal(hm_buf_cstr(&b), "xyz");
	hm_buf_consume(&b, 2);
	assert_string_equal(hm_buf_cstr(&b), "z");
	hm_buf_consume(&b, 1);
	assert_int_equal(b.len, 0);
	hm_buf_fini(&b);

	hm_arena_init(&a, NULL, 0);
	hm_buf_init_arena(&b, &a, 1000);
	for (int i = 0; i < 30; i++)
		hm_buf_printf(&b, "%d %s;", i, "some text");
	hm_buf_i64(&b, INT64_MIN);
	hm_buf_u64(&b, UINT64_MAX);
	hm_buf_u64(&b, 0);
	assert_int_equal(b.err, 0);
	assert_true(hm_str_starts(hm_buf_str(&b), HM_STR("0 some text;1 some text;")));
	assert_true(hm_str_ends(hm_buf_str(&b), HM_STR("-9223372036854775808184467440737095516150")));
	hm_buf_printf(&b, "%2000d", 1);
	assert_int_equal(b.err, HM_ELIMIT);
	hm_arena_fini(&a);
}

static void test_buf_printf_at_the_edge(void **state)
{
	for (size_t max = 0; max < 12; max++) {
		struct hm_buf b;

		hm_buf_init(&b, max);
		hm_buf_printf(&b, "%s", "0123456789");
		assert_int_equal(b.err, max < 10 ? HM_ELIMIT : 0);
		if (max >= 10)
			assert_string_equal(hm_buf_cstr(&b), "0123456789");
		hm_buf_fini(&b);
	}
}

struct item {
	int v;
	struct hm_node node;
	struct hm_heap_node timer;
};

static void test_list(void **state)
{
	struct hm_list l, m;
	struct item v[4] = {{.v = 0}, {.v = 1}, {.v = 2}, {.v = 3}};
	int want = 0;

	hm_list_init(&l);
	hm_list_init(&m);
	assert_null(hm_list_pop(&l));
	hm_list_push(&l, &v[1].node);
	hm_list_push_front(&l, &v[0].node);
	hm_list_push(&m, &v[2].node);
	hm_list_push(&m, &v[3].node);
	hm_list_splice(&l, &m);
	assert_int_equal(l.len, 4);
	assert_true(hm_list_empty(&m));
	hm_list_foreach (&l, n)
		assert_int_equal(hm_container_of(n, struct item, node)->v, want++);
	hm_list_remove(&l, &v[2].node);
	assert_false(hm_node_linked(&v[2].node));
	hm_list_foreach_safe (&l, n, tmp)
		hm_list_remove(&l, n);
	assert_int_equal(l.len, 0);
}

static void test_heap_sorts(void **state)
{
	enum { N = 500 };
	static struct item v[N];
	struct hm_heap h;
	uint64_t last = 0, seed = 1;

	hm_heap_init(&h);
	for (size_t i = 0; i < N; i++) {
		seed = hm_hash64(&seed, sizeof(seed), 3);
		assert_true(hm_heap_push(&h, &v[i].timer, seed % 200));
	}
	for (size_t i = 0; i < N; i += 3) {
		hm_heap_remove(&h, &v[i].timer);
		hm_heap_remove(&h, &v[i].timer); /* harmless */
		assert_int_equal(v[i].timer.pos, 0);
	}
	for (uint32_t i = 1; i <= h.len; i++)
		assert_int_equal(h.v[i]->pos, i);
	for (uint32_t left = h.len; left; left--) {
		struct hm_heap_node *min = hm_heap_min(&h);

		assert_true(min->key >= last);
		last = min->key;
		hm_heap_remove(&h, min);
	}
	assert_null(hm_heap_min(&h));
	hm_heap_fini(&h);
}

static void test_idmap(void **state)
{
	struct hm_idmap m;
	int objs[200];
	uint64_t ids[200], old;

	hm_idmap_init(&m);
	assert_null(hm_idmap_get(&m, 0));
	assert_null(hm_idmap_get(&m, 12345));
	for (size_t i = 0; i < 200; i++) {
		ids[i] = hm_idmap_add(&m, &objs[i]);
		assert_true(ids[i] != 0);
	}
	for (size_t i = 0; i < 200; i++)
		assert_ptr_equal(hm_idmap_get(&m, ids[i]), &objs[i]);
	old = ids[7];
	assert_ptr_equal(hm_idmap_take(&m, old), &objs[7]);
	assert_null(hm_idmap_take(&m, old));
	/* Ids do not come back, even when the slot does. */
	for (size_t i = 0; i < 1000; i++) {
		uint64_t id = hm_idmap_add(&m, &objs[7]);

		assert_true(id != old);
		assert_null(hm_idmap_get(&m, old));
		assert_ptr_equal(hm_idmap_take(&m, id), &objs[7]);
	}
	assert_int_equal(m.len, 199);
	hm_idmap_fini(&m);
}

/* Everything that allocates, run with the nth allocation failing: it reports and does not leak. */
static int allocate_a_lot(void)
{
	struct hm_slab pool;
	struct hm_arena a;
	struct hm_buf b, c;
	int failed = 0;

	hm_slab_init(&pool, "arena", HM_ARENA_BLOCK, 0);
	hm_arena_init(&a, &pool, 0);
	hm_buf_init(&b, 1 << 20);
	hm_buf_init_arena(&c, &a, 1 << 20);
	for (int i = 0; i < 40; i++) {
		failed |= hm_arena_alloc(&a, 3000) == NULL;
		failed |= hm_arena_alloc(&a, 10000) == NULL;
		failed |= hm_arena_printf(&a, "%d", i).p == NULL;
		hm_buf_printf(&b, "%1000d", i);
		hm_buf_printf(&c, "%1000d", i);
	}
	failed |= b.err != 0 || c.err != 0;
	if (b.err)
		assert_int_equal(b.err, HM_ENOMEM);
	hm_buf_fini(&b);
	hm_buf_fini(&c);
	hm_arena_fini(&a);
	hm_slab_fini(&pool);
	return failed;
}

static void test_allocation_sweep(void **state)
{
	struct hm_err e;
	uint64_t total;
	char spec[64];

	assert_int_equal(hm_fault_init("alloc:fail@1000000", &e), 0);
	assert_int_equal(allocate_a_lot(), 0);
	total = hm_fault_hits(HM_FAULT_alloc);
	assert_true(total > 20);
	for (uint64_t n = 1; n <= total; n++) {
		snprintf(spec, sizeof(spec), "alloc:fail@%llu", (unsigned long long)n);
		assert_int_equal(hm_fault_init(spec, &e), 0);
		assert_int_equal(allocate_a_lot(), 1);
	}
	assert_int_equal(hm_fault_init(NULL, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slab),  cmocka_unit_test(test_slab_max),
		cmocka_unit_test(test_arena), cmocka_unit_test(test_arena_limit),
		cmocka_unit_test(test_buf),   cmocka_unit_test(test_buf_printf_at_the_edge),
		cmocka_unit_test(test_list),  cmocka_unit_test(test_heap_sorts),
		cmocka_unit_test(test_idmap), cmocka_unit_test(test_allocation_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
