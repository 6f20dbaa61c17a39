/*
 * book.c - all templates of a process: snapshots and the book that hands them out
 *
 * A snapshot is a sorted list of entries, one per name; an entry holds what is known under that name. Both never
 * change once they are seen: a change copies the list, shares the entries it does not touch and puts the copy
 * in place; only a list that nobody has taken is changed itself. Writers come one after the other; readers wait for
 * nobody but the moment in which the pointer is exchanged, and only when there is a new snapshot (hm_book_look).
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "content/book_int.h"

struct entry {
	atomic_uint refs;
	struct hm_str name;
	struct hm_template *file, **v; /* v: managed, by version */
	size_t n;
	struct hm_template *current; /* one of v, or the file; NULL: only pinned ones */
	char text[];		     /* the name */
};

struct hm_template_set {
	uint32_t magic;
	atomic_uint refs;
	uint64_t generation;
	struct entry **e; /* sorted by name */
	size_t n, room;
};

struct hm_book {
	uint32_t magic;
	pthread_mutex_t writer; /* held for a whole change */
	pthread_mutex_t lock;	/* held for the exchange */
	struct hm_template_set *set;
	_Atomic uint64_t generation;
};

/* -- entries ------------------------------------------------------------------------------------------------ */

static void entry_unref(struct entry *x)
{
	if (x == NULL || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	hm_template_unref(x->file);
	for (size_t i = 0; i < x->n; i++)
		hm_template_unref(x->v[i]);
	free(x->v);
	free(x);
}

static int by_version(const void *a, const void *b)
{
	const struct hm_template *const *x = a, *const *y = b;

	return (*x)->version < (*y)->version ? -1 : (*x)->version > (*y)->version;
}

/* References to file and v are the new entry's own. */
static struct entry *entry_new(struct hm_str name, struct hm_template *file, struct hm_template *const *v,
			       size_t n, uint32_t current)
{
	struct entry *x = calloc(1, sizeof(*x) + name.len + 1);

	if (x == NULL || (n > 0 && (x->v = calloc(n, sizeof(struct hm_template *))) == NULL)) {
		free(x);
		return NULL;
	}
	atomic_init(&x->refs, 1);
	memcpy(x->text, name.p, name.len);
	x->name = hm_str_n(x->text, name.len);
	x->file = file;
	x->n = n;
	for (size_t i = 0; i < n; i++)
		x->v[i] = v[i];
	if (n > 1)
		qsort(x->v, n, sizeof(struct hm_template *), by_version);
	x->current = n == 0 ? file : NULL;
	for (size_t i = 0; i < n; i++)
		if (x->v[i]->version == current)
			x->current = x->v[i];
	return x;
}

/* -- snapshots ----------------------------------------------------------------------------------------------- */

static struct hm_template_set *set_new(size_t room)
{
	struct hm_template_set *s = calloc(1, sizeof(*s));

	if (s == NULL || (room > 0 && (s->e = calloc(room, sizeof(struct entry *))) == NULL)) {
		free(s);
		return NULL;
	}
	HM_MAGIC_SET(s, HM_TEMPLATE_SET_MAGIC);
	s->room = room;
	atomic_init(&s->refs, 1);
	return s;
}

struct hm_template_set *hm_template_set_ref(struct hm_template_set *s)
{
	HM_CHECK(s, HM_TEMPLATE_SET_MAGIC);
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void hm_template_set_unref(struct hm_template_set *s)
{
	if (s == NULL)
		return;
	HM_CHECK(s, HM_TEMPLATE_SET_MAGIC);
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < s->n; i++)
		entry_unref(s->e[i]);
	free(s->e);
	HM_MAGIC_CLEAR(s);
	free(s);
}

size_t hm_template_set_count(const struct hm_template_set *s)
{
	HM_CHECK(s, HM_TEMPLATE_SET_MAGIC);
	return s->n;
}

struct hm_template *hm_template_set_at(const struct hm_template_set *s, size_t i)
{
	HM_CHECK(s, HM_TEMPLATE_SET_MAGIC);
	hm_assert(i < s->n);
	return s->e[i]->current;
}

/* The place of a name, or where it would be put. */
static bool place_of(const struct hm_template_set *s, struct hm_str name, size_t *at_r)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = hm_str_cmp(name, s->e[mid]->name);

		if (c == 0) {
			*at_r = mid;
			return true;
		}
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	*at_r = lo;
	return false;
}

static const struct hm_template *of_version(const struct entry *x, uint64_t version)
{
	for (size_t i = x->n; i > 0; i--) /* pinned ones are mostly new */
		if (x->v[i - 1]->version == version)
			return x->v[i - 1];
	return NULL;
}

const struct hm_template *hm_template_find(const struct hm_template_set *s, struct hm_str ref,
					   struct hm_err *e)
{
	struct hm_str name = ref;
	const struct hm_template *t;
	bool pinned = false;
	uint64_t version = 0;
	size_t at;

	HM_CHECK(s, HM_TEMPLATE_SET_MAGIC);
	for (size_t i = ref.len; i > 0 && !pinned; i--) {
		if (ref.p[i - 1] != '@')
			continue;
		pinned = true;
		name.len = i - 1;
		if (!hm_str_u64(hm_str_n(ref.p + i, ref.len - i), &version) || version == 0) {
			hm_err_set(e, HM_ENOENT,
				   "no template \"%.*s\": after @ comes the number of a version",
				   HM_STRF(ref));
			return NULL;
		}
	}
	if (!place_of(s, name, &at)) {
		hm_err_set(e, HM_ENOENT, "no template \"%.*s\"", HM_STRF(name));
		return NULL;
	}
	t = pinned ? of_version(s->e[at], version) : s->e[at]->current;
	if (t == NULL && pinned)
		hm_err_set(e, HM_ENOENT, "the template \"%.*s\" has no version %llu that could be sent",
			   HM_STRF(name), (unsigned long long)version);
	else if (t == NULL)
		hm_err_set(e, HM_ENOENT, "no version of the template \"%.*s\" is published", HM_STRF(name));
	return t;
}

/* -- the book -------------------------------------------------------------------------------------------------- */

struct hm_book *hm_book_new(void)
{
	struct hm_book *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->set = set_new(0);
	if (b->set == NULL) {
		free(b);
		return NULL;
	}
	HM_MAGIC_SET(b, HM_BOOK_MAGIC);
	pthread_mutex_init(&b->writer, NULL);
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

struct hm_book *hm_book_fork(struct hm_template_set *s)
{
	struct hm_book *b = hm_book_new();

	if (b != NULL) {
		hm_template_set_unref(b->set);
		b->set = hm_template_set_ref(s);
		atomic_store(&b->generation, s->generation);
	}
	return b;
}

void hm_book_free(struct hm_book *b)
{
	if (b == NULL)
		return;
	HM_CHECK(b, HM_BOOK_MAGIC);
	hm_template_set_unref(b->set);
	pthread_mutex_destroy(&b->writer);
	pthread_mutex_destroy(&b->lock);
	HM_MAGIC_CLEAR(b);
	free(b);
}

struct hm_template_set *hm_book_take(struct hm_book *b)
{
	struct hm_template_set *s;

	HM_CHECK(b, HM_BOOK_MAGIC);
	pthread_mutex_lock(&b->lock);
	s = hm_template_set_ref(b->set);
	pthread_mutex_unlock(&b->lock);
	return s;
}

struct hm_template_set *hm_book_look(struct hm_book_eye *eye)
{
	if (eye->set == NULL ||
	    atomic_load_explicit(&eye->book->generation, memory_order_acquire) != eye->set->generation) {
		hm_template_set_unref(eye->set);
		eye->set = hm_book_take(eye->book);
	}
	return eye->set;
}

/* Takes s over. */
static void exchange(struct hm_book *b, struct hm_template_set *s)
{
	struct hm_template_set *old;

	pthread_mutex_lock(&b->lock);
	old = b->set;
	s->generation = old->generation + 1;
	b->set = s;
	atomic_store_explicit(&b->generation, s->generation, memory_order_release);
	pthread_mutex_unlock(&b->lock);
	hm_template_set_unref(old);
}

/* A snapshot that nobody has taken can still be changed: thousands of names come one by one, and so many copies of
 * thousands would take seconds. b->lock held, so that nobody takes it meanwhile. */
static bool replace_here(struct hm_template_set *s, size_t at, bool there, struct entry *x)
{
	if (atomic_load_explicit(&s->refs, memory_order_acquire) != 1)
		return false;
	if (x != NULL && !there) {
		if (s->n == s->room) {
			size_t room = hm_max(2 * s->room, (size_t)16);
			struct entry **e = realloc(s->e, room * sizeof(*e));

			if (e == NULL)
				return false;
			s->e = e;
			s->room = room;
		}
		memmove(&s->e[at + 1], &s->e[at], (s->n++ - at) * sizeof(struct entry *));
	} else if (x == NULL && there) {
		memmove(&s->e[at], &s->e[at + 1], (--s->n - at) * sizeof(struct entry *));
	}
	if (x != NULL)
		s->e[at] = x;
	s->generation++;
	return true;
}

static struct entry *entry_ref(struct entry *x)
{
	atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
	return x;
}

/* The snapshot of now with the entry of one name replaced (x NULL: taken out). Writer's lock held; x is taken over. */
static int replace(struct hm_book *b, struct hm_str name, struct entry *x)
{
	struct hm_template_set *old = b->set, *s;
	size_t at;
	bool there = place_of(old, name, &at), here;
	struct entry *was = there ? old->e[at] : NULL;

	pthread_mutex_lock(&b->lock);
	here = replace_here(old, at, there, x);
	if (here)
		atomic_store_explicit(&b->generation, old->generation, memory_order_release);
	pthread_mutex_unlock(&b->lock);
	if (here) {
		entry_unref(was);
		return 0;
	}
	s = set_new(old->n + 1 + old->n / 8);
	if (s == NULL) {
		entry_unref(x);
		return HM_ENOMEM;
	}
	for (size_t i = 0; i < at; i++)
		s->e[s->n++] = entry_ref(old->e[i]);
	if (x != NULL)
		s->e[s->n++] = x;
	for (size_t i = at + (there ? 1 : 0); i < old->n; i++)
		s->e[s->n++] = entry_ref(old->e[i]);
	exchange(b, s);
	return 0;
}

int hm_book_put(struct hm_book *b, struct hm_str name, struct hm_template *const *v, size_t n,
		uint32_t current)
{
	struct hm_template *file = NULL;
	struct entry *x = NULL;
	size_t at;
	int rc = 0;

	HM_CHECK(b, HM_BOOK_MAGIC);
	pthread_mutex_lock(&b->writer);
	if (place_of(b->set, name, &at) && b->set->e[at]->file != NULL)
		file = hm_template_ref(b->set->e[at]->file);
	if (n > 0 || file != NULL) {
		x = entry_new(name, file, v, n, current);
		if (x == NULL) {
			rc = HM_ENOMEM;
			hm_template_unref(file);
			for (size_t i = 0; i < n; i++)
				hm_template_unref(v[i]);
		}
	}
	if (rc == 0)
		rc = replace(b, name, x);
	pthread_mutex_unlock(&b->writer);
	return rc;
}

void hm_book_drop(struct hm_book *b, struct hm_str name)
{
	if (hm_book_put(b, name, NULL, 0, 0) != 0)
		HM_ERROR(TMPL, "a template could not be taken out of the book: out of memory",
			 HM_SV("template", name));
}

/* -- files -------------------------------------------------------------------------------------------------------- */

/* Sorted names, the managed versions of now, the new files. Takes over the references in f, also when it fails. */
struct hm_template_set *hm_book_with_files(struct hm_book *b, struct hm_template *const *f, size_t n)
{
	const struct hm_template_set *old = b->set;
	struct hm_template_set *s = set_new(old->n + n + 1);
	size_t i = 0, k = 0;

	while (s != NULL && (i < old->n || k < n)) {
		int c = i == old->n ? 1 : k == n ? -1 : hm_str_cmp(old->e[i]->name, f[k]->name);
		struct hm_template *file = c >= 0 ? f[k] : NULL;
		struct entry *was = c <= 0 ? old->e[i] : NULL, *x;

		i += c <= 0;
		k += c >= 0;
		if (was != NULL && was->n == 0 && file == NULL)
			continue; /* a file that is gone */
		x = entry_new(was ? was->name : file->name, file, was ? was->v : NULL, was ? was->n : 0,
			      was && was->current ? was->current->version : 0);
		if (x == NULL) {
			hm_template_unref(file);
			hm_template_set_unref(s);
			s = NULL;
			break;
		}
		for (size_t j = 0; j < x->n; j++)
			hm_template_ref(x->v[j]);
		s->e[s->n++] = x;
	}
	for (; k < n; k++)
		hm_template_unref(f[k]);
	return s;
}

void hm_book_lock(struct hm_book *b)
{
	HM_CHECK(b, HM_BOOK_MAGIC);
	pthread_mutex_lock(&b->writer);
}

void hm_book_unlock(struct hm_book *b, struct hm_template_set *s)
{
	if (s != NULL)
		exchange(b, s);
	pthread_mutex_unlock(&b->writer);
}
