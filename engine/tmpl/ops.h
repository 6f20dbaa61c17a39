/*
 * HM_OP(name, operand c, pops, pushes): instructions. a and b are told in the comment.
 * operand c: NONE, INT, TARGET (code address), LIT, CONST, NAME, PATH, SLOT, LOOP, CALL, MACRO, SCOPE, BI
 * pops: number of values, or VAR (depends on an operand; see verify.c)
 */
/* output; a: output format; EMIT: b: 1 escapes; EMITG, EMITPATH: a with EMIT_ESC escapes, b: the literal in front */
HM_OP(LIT, LIT, 0, 0)
HM_OP(EMIT, NONE, 1, 0)
HM_OP(EMITG, NAME, 0, 0)
HM_OP(EMITPATH, PATH, 0, 0)
/* values */
HM_OP(CONST, CONST, 0, 1)
HM_OP(INT, INT, 0, 1)
HM_OP(TRUE, NONE, 0, 1)
HM_OP(FALSE, NONE, 0, 1)
HM_OP(NULL, NONE, 0, 1)
HM_OP(EMPTY, NONE, 0, 1)
HM_OP(LOADG, NAME, 0, 1)
HM_OP(LOADL, SLOT, 0, 1)  /* b: nameref + 1 to go on with when the slot is empty; 0: none */
HM_OP(LOADNS, NAME, 0, 1) /* a: enum hm_assign_scope; only what was assigned there; missing is an error */
HM_OP(PATH, PATH, 0, 1)
HM_OP(GET, CONST, 1, 1)	 /* .name; a: 1 a missing base yields a missing value */
HM_OP(INDEX, NONE, 2, 1) /* [x]; a as GET */
HM_OP(POP, NONE, 1, 0)
HM_OP(DUP, NONE, 1, 2)
HM_OP(RANGE, NONE, VAR, 1) /* a: enum hm_range_end */
HM_OP(MKSEQ, INT, VAR, 1)
HM_OP(MKHASH, INT, VAR, 1)
HM_OP(APPEND, NONE, 2, 1)
HM_OP(STRCAT, INT, VAR, 1)
HM_OP(ADD, NONE, 2, 1)
HM_OP(SUB, NONE, 2, 1)
HM_OP(MUL, NONE, 2, 1)
HM_OP(DIV, NONE, 2, 1)
HM_OP(MOD, NONE, 2, 1)
HM_OP(NEG, NONE, 1, 1)
HM_OP(POS, NONE, 1, 1)
HM_OP(CMP, NONE, 2, 1) /* a: enum hm_cmp */
HM_OP(NOT, NONE, 1, 1)
HM_OP(BOOL, NONE, 1, 1) /* must be a boolean */
HM_OP(EXISTS, NONE, 1, 1)
HM_OP(BI, BI, VAR, 1) /* a: arguments; b: format or 1 by key; see compile_expr.c */
HM_OP(METHOD, NONE, 1,
      1) /* the left side must exist (a: or not) and fit (b: see compile_expr.c); yields a method */
/* must not be missing; a: 0 the result of x -> ..., 1 any value; b: what it must be, see compile_expr.c */
HM_OP(NEEDV, NONE, 1, 1)
HM_OP(CALLFN, INT, VAR, 1)  /* x(...): always an error, x is no function */
HM_OP(SPECIAL, SCOPE, 0, 1) /* a: enum hm_special */
HM_OP(LOOPVAR, LOOP, 0, 1)  /* a: enum hm_bi minus BI_ID_index */
HM_OP(CYCLE, LOOP, VAR, 1)  /* a: arguments */
HM_OP(FAIL, CONST, 0, 0)    /* ends with HM_EINVAL and this text */
/* jumps */
HM_OP(JMP, TARGET, 0, 0)
HM_OP(JF, TARGET, 1, 0)
HM_OP(JT, TARGET, 1, 0)
HM_OP(JCMP, TARGET, 2, 0) /* a: enum hm_cmp; b: jump when the result is b */
HM_OP(JNULL, TARGET, 1, 0)
HM_OP(JNNULL, TARGET, 1, 0)
HM_OP(ORJ, TARGET, 1, 1)  /* not missing: jump, keeping it; else drop it (depth 0 pushed on the way on) */
HM_OP(JSET, TARGET, 0, 0) /* b: slot; jump when it has a value */
/* errors caught */
HM_OP(GUARD, TARGET, 0, 0) /* a missing value up to UNGUARD: push missing, go to the target */
HM_OP(UNGUARD, NONE, 0, 0)
HM_OP(ATTEMPT, TARGET, 0, 0)
HM_OP(ENDATTEMPT, NONE, 0, 0)
/* captured output */
HM_OP(CAPTURE, NONE, 0, 0)
HM_OP(ENDCAP, NONE, 0, 1) /* a: format; markup if that is a markup format */
HM_OP(COMPRESS, NONE, 0, 0)
HM_OP(ENDCOMPRESS, NONE, 0, 0)
HM_OP(UNWIND, INT, 0, 0) /* leaves c captures, attempts, compressions */
/* variables */
HM_OP(SETV, NAME, 1, 0) /* a: enum hm_assign_scope */
HM_OP(SETL, SLOT, 1, 0)
HM_OP(CLEARL, SLOT, 0, 0)
HM_OP(NEEDL, SLOT, 0, 0)  /* b: parameter number; a macro parameter without a value is an error */
HM_OP(SETTING, INT, 1, 0) /* a: enum hm_setting */
/* loops */
HM_OP(ITER, LOOP, 1, 0)	   /* a: 0 sequence, 1 hash, 2 either: ITEMS decides */
HM_OP(ITEMS, LOOP, 0, 0)   /* a: 1 hash, 0 sequence; starts the rounds of an ITER 2 */
HM_OP(JNONE, TARGET, 0, 0) /* b: loop; jump when it has no items */
HM_OP(NEXT, TARGET, 0, 0)  /* b: loop; the next item, or jump */
HM_OP(JLAST, TARGET, 0, 0) /* b: loop; jump when this is the last item, or there is no iteration */
HM_OP(ENDITER, LOOP, 0, 0)
/* macros, fragments */
HM_OP(CALL, CALL, VAR, 0) /* callee and arguments */
HM_OP(NESTED, INT, VAR, 0)
HM_OP(ENDBODY, NONE, 0, 0)
HM_OP(LEAVE, TARGET, 0, 0) /* a: bodies to leave; then to the target */
HM_OP(RET, NONE, 0, 0)	   /* end of a macro, or of the text */
HM_OP(RETURN, NONE, 0, 0)  /* <#return>: out of the macro being run */
HM_OP(DEFMACRO, MACRO, 0, 0)
HM_OP(INCLUDE, SCOPE, VAR, 0) /* a: 1 with a value for ignore_missing above the name */
HM_OP(STOP, NONE, VAR, 0)     /* a: 1 with a message */
