/*
 * Caps under eight processes at once: exactly max of a user's messages pass, whoever asks, settles, or is killed.
 *
 * The processes count in shared memory. Their clocks differ by some ms.
 */
#include "stage.h"

#include <sys/mman.h>

#define PROCESSES 8
#define USERS	  50
#define MOST	  7
#define ROUNDS	  30

static struct shared {
	unsigned passed[USERS], held[USERS], over[USERS];
	unsigned intended[USERS], confirmed[USERS]; /* commits */
	unsigned asked, ready, go;
} * sh;

static char users[USERS][8];

static void add(unsigned *n)
{
	__atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST);
}

/* -- a child ------------------------------------------------------------------------------------------- */

static void child_begin(unsigned me)
{
	env.tick = (struct hm_tick){
		0}; /* the parent's loop stays where it is; this is a copy of it nobody runs */
	if (uv_loop_init(&env.loop) != 0 || hm_tick_init(&env.tick, &env.loop) != 0)
		_exit(3);
	uv_timer_init(&env.loop, &env.beat);
	uv_timer_start(&env.beat, on_beat, 5, 5);
	client_open(&hub, &env, hub_opts, "unix://%s", server->sock);
	RUN_UNTIL(&env, hub.up, 10000);
	gates_open();
	now = T0 + me * 3;
	add(&sh->ready);
	while (!__atomic_load_n(&sh->go, __ATOMIC_SEQ_CST))
		uv_run(&env.loop, UV_RUN_ONCE);
}

/* One message to every user, in one tick. */
static void child_round(struct asked *q, unsigned me, unsigned round)
{
	for (unsigned u = 0; u < USERS; u++) {
		struct hm_gate_subject s = message((me * ROUNDS * 100 + round) * USERS + u, users[u]);

		put(&q[u], s);
		add(&sh->asked);
	}
	for (unsigned u = 0; u < USERS; u++) {
		RUN_UNTIL(&env, q[u].answers == 1, 20000);
		if (q[u].a.answer == HM_GATE_UNANSWERED)
			_exit(4);
	}
}

static void child_asks(unsigned me)
{
	static struct asked q[USERS];

	child_begin(me);
	for (unsigned round = 0; round < ROUNDS; round++) {
		child_round(q, me, round);
		for (unsigned u = 0; u < USERS; u++)
			if (q[u].a.answer == HM_GATE_PASS) {
				add(&sh->passed[u]);
				hm_gates_commit(gates, &q[u].a.s);
			}
	}
	settled();
	_exit(0);
}

/* Commits some, releases some, keeps some for ever. */
static void child_settles(unsigned me)
{
	static struct asked q[USERS];
	unsigned seed = me + 1;

	child_begin(me);
	for (unsigned round = 0; round < ROUNDS * 3; round++) {
		bool committed[USERS] = {false};

		child_round(q, me, round);
		for (unsigned u = 0; u < USERS; u++) {
			unsigned dice = (unsigned)rand_r(&seed) % 100;

			if (q[u].a.answer != HM_GATE_PASS)
				continue;
			if (__atomic_add_fetch(&sh->held[u], 1, __ATOMIC_SEQ_CST) > MOST)
				add(&sh->over[u]);
			if (dice < 4) {
				add(&sh->intended[u]);
				hm_gates_commit(gates, &q[u].a.s);
				committed[u] = true;
			} else if (dice < 98) {
				__atomic_sub_fetch(&sh->held[u], 1, __ATOMIC_SEQ_CST);
				hm_gates_release(gates, &q[u].a.s);
			}
		}
		settled();
		for (unsigned u = 0; u < USERS; u++)
			if (committed[u])
				add(&sh->confirmed[u]);
	}
	_exit(0);
}

/* -- the parent ------------------------------------------------------------------------------------------ */

static void start(pid_t *pids, void (*child)(unsigned me))
{
	memset(sh, 0, sizeof(*sh));
	for (unsigned i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			child(i);
		}
	}
	RUN_UNTIL(&env, __atomic_load_n(&sh->ready, __ATOMIC_SEQ_CST) == PROCESSES, 30000);
	__atomic_store_n(&sh->go, 1, __ATOMIC_SEQ_CST);
}

static void rules(void)
{
	configure(CHANNELS "caps: {a: {max: %d, per: 24h}, b: {medium: sms, max: %d, per: 20h}, c: {max: "
			   "900, per: month}}\n"
			   "categories: {\"*\": {suppression: false}}\n",
		  MOST + 1, MOST);
}

static void test_eight_processes(void **state)
{
	pid_t pids[PROCESSES];
	int status;

	rules();
	start(pids, child_asks);
	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(sh->asked, PROCESSES * USERS * ROUNDS);
	for (unsigned u = 0; u < USERS; u++)
		assert_int_equal(sh->passed[u], MOST);
}

static void test_killed(void **state)
{
	pid_t pids[PROCESSES];
	unsigned seed = 7, killed = 0, filled[USERS] = {0};
	int status;

	rules();
	start(pids, child_settles);
	for (unsigned i = 0; i < PROCESSES / 2; i++) { /* at moments of their work, not of the clock */
		unsigned at = PROCESSES * USERS * (2 + (unsigned)rand_r(&seed) % 8) + sh->asked;

		RUN_UNTIL(&env, __atomic_load_n(&sh->asked, __ATOMIC_SEQ_CST) >= at || kill(pids[i], 0) != 0,
			  60000);
		kill(pids[i], SIGKILL);
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		killed += WIFSIGNALED(status);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	}
	assert_true(killed > 0);
	now = T0 + 30000; /* while leases hold, nobody gets more than the rest */
	for (unsigned n = 0; n <= MOST; n++)
		for (unsigned u = 0; u < USERS; u++)
			filled[u] += answer(message(5000000 + n * USERS + u, users[u]))->answer ==
				     HM_GATE_PASS;
	for (unsigned u = 0; u < USERS; u++) {
		assert_int_equal(sh->over[u], 0);
		assert_true(filled[u] <= MOST - sh->confirmed[u]);
	}
	/* rules' windows still hold what was committed; all leases are over: the dead keep nothing */
	configure(CHANNELS "caps: {a: {max: %d, per: 72h}}\ncategories: {\"*\": {suppression: false}}\n",
		  MOST);
	memset(filled, 0, sizeof(filled));
	now = T0 + DAY + HOUR;
	for (unsigned n = 0; n <= MOST; n++)
		for (unsigned u = 0; u < USERS; u++)
			filled[u] += answer(message(6000000 + n * USERS + u, users[u]))->answer ==
				     HM_GATE_PASS;
	for (unsigned u = 0; u < USERS; u++) {
		if (filled[u] + sh->confirmed[u] > MOST || filled[u] + sh->intended[u] < MOST)
			fail_msg("user %u: %u more, %u committed for sure, %u at most", u, filled[u],
				 sh->confirmed[u], sh->intended[u]);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup(fn, stage_fresh)
	const struct CMUnitTest tests[] = {
		TEST(test_eight_processes),
		TEST(test_killed),
	};

	for (unsigned u = 0; u < USERS; u++)
		snprintf(users[u], sizeof(users[u]), "u%u", u);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, stage_setup, stage_teardown);
}
