/* parse.c - PTX text to functions, see ptx.h and parse.h.
 *
 * A function's shared variables are those that it names: each gets its place when it is first
 * named, and what is `extern` lies behind all of them, so that constants of its address are set at
 * the function's end. */
#include "tests/emu/parse.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DYNAMIC_ALIGN = 128 };

/* ---- registers, constants, variables ---- */

static int32_t take_file(ptx_parser *p, class_of class, int count)
{
    const int32_t each = class == CLASS_PREDICATE ? 4 : class == CLASS_64 ? 256 : 128;
    if (class != CLASS_PREDICATE)
        p->f->file_bytes = (p->f->file_bytes + 63) / 64 * 64;
    const int32_t at = p->f->file_bytes;
    p->f->file_bytes += each * count;
    return at;
}

static int32_t constant(ptx_parser *p, int wide, int64_t value)
{
    ptx_function *f = p->f;
    if (f->constant_count == p->constant_room) {
        p->constant_room = 2 * p->constant_room + 64;
        f->constants = realloc(f->constants, (size_t)p->constant_room * sizeof *f->constants);
        if (f->constants == NULL)
            ptx_refuse(p, "want memory");
    }
    const int32_t at = take_file(p, wide ? CLASS_64 : CLASS_32, 1);
    f->constants[f->constant_count++] = (ptx_constant){at, (uint8_t)wide, value};
    return at;
}

static class_of class_named(ptx_parser *p)
{
    static const char *const names[] = {".pred .b8 .u8 .s8 .b16 .u16 .s16 .f16 .bf16 ",
                                        ".b32 .u32 .s32 .f32 .f16x2 ", ".b64 .u64 .s64 .f64 "};
    char text[16];
    (void)snprintf(text, sizeof text, "%.*s ", (int)p->now.length, p->now.at);
    for (int i = 0; i < 3; i++)
        if (strstr(names[i], text) != NULL) {
            const int is_predicate = ptx_is(p, ".pred");
            ptx_next(p);
            return is_predicate ? CLASS_PREDICATE : (class_of)(i + 1);
        }
    ptx_refuse(p, "want a type");
}

static void declare_registers(ptx_parser *p)
{
    const class_of class = class_named(p);
    do {
        if (p->name_count == NAMES_MAX)
            ptx_refuse(p, "want fewer names of registers");
        registers *r = &p->names[p->name_count++];
        *r = (registers){p->now, 0, class, 0};
        ptx_next(p);
        if (ptx_take(p, "<")) {
            r->count = (int)ptx_number(p);
            ptx_want(p, ">");
        }
        r->at = take_file(p, class, r->count > 0 ? r->count : 1);
    } while (ptx_take(p, ","));
    ptx_want(p, ";");
}

/* The register that is named now, or 0. */
static int find_register(const ptx_parser *p, class_of *class, int32_t *at)
{
    size_t letters = p->now.length;
    while (letters > 0 && p->now.at[letters - 1] >= '0' && p->now.at[letters - 1] <= '9')
        letters--;
    const ptx_text prefix = {p->now.at, letters};
    for (int k = p->name_count - 1; k >= 0; k--) {
        const registers *r = &p->names[k];
        const int each = r->class == CLASS_PREDICATE ? 4 : r->class == CLASS_64 ? 256 : 128;
        const int index = letters < p->now.length ? atoi(p->now.at + letters) : 0;
        *class = r->class;
        *at = r->at + each * index;
        if (r->count > 0 ? ptx_same(r->prefix, prefix) && index < r->count
                         : ptx_same(r->prefix, p->now))
            return 1;
    }
    return 0;
}

static int find_special(ptx_parser *p, class_of *class, int32_t *at)
{
    static const char *const names[PTX_SPECIALS] = {
        "%tid.x",  "%tid.y",  "%tid.z",    "%ctaid.x",  "%ctaid.y",  "%ctaid.z", "%ntid.x",
        "%ntid.y", "%ntid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid"};
    for (int k = 0; k < PTX_SPECIALS; k++)
        if (ptx_is(p, names[k])) {
            if (p->f->special[k] < 0)
                p->f->special[k] = take_file(p, CLASS_32, 1);
            *class = CLASS_32;
            *at = p->f->special[k];
            return 1;
        }
    return 0;
}

/* An address that is named now: a shared variable's or a parameter's; a constant. */
static int find_symbol(ptx_parser *p, int64_t *value, int *is_dynamic)
{
    *is_dynamic = 0;
    for (int k = 0; k < p->f->param_count; k++)
        if (ptx_same(p->params[k], p->now)) {
            *value = p->f->param_at[k];
            return 1;
        }
    for (int k = 0; k < p->variable_count; k++) {
        variable *v = &p->variables[k];
        if (!ptx_same(v->name, p->now))
            continue;
        *is_dynamic = v->bytes == 0;
        if (v->at < 0 && v->bytes > 0) {
            v->at = ((int32_t)p->f->shared_bytes + v->align - 1) / v->align * v->align;
            p->f->shared_bytes = (uint32_t)(v->at + v->bytes);
        }
        *value = v->at;
        return 1;
    }
    return 0;
}

static int32_t symbol_constant(ptx_parser *p, int wide, int64_t value, int is_dynamic)
{
    const int32_t at = constant(p, wide, value);
    if (is_dynamic) {
        if (p->dynamic_count == 64)
            ptx_refuse(p, "want fewer uses of dynamic shared memory");
        p->dynamic[p->dynamic_count++] = p->f->constant_count - 1;
    }
    return at;
}

/* `.align 4 .b8 name[32]`, behind .shared; an extern one has no size. */
static void declare_shared(ptx_parser *p)
{
    variable v = {.align = 4, .at = -1};
    if (ptx_take(p, ".align"))
        v.align = (int32_t)ptx_number(p);
    (void)class_named(p);
    v.name = p->now;
    ptx_next(p);
    ptx_want(p, "[");
    if (!ptx_is(p, "]"))
        v.bytes = (int32_t)ptx_number(p);
    ptx_want(p, "]");
    ptx_want(p, ";");
    if (p->variable_count == VARIABLES_MAX)
        ptx_refuse(p, "want fewer variables");
    p->variables[p->variable_count++] = v;
}

/* ---- instructions ---- */

/* An operand of a letter: a register of its class, a constant where it is only read. */
static int32_t operand(ptx_parser *p, char letter, int k, ptx_ins *ins)
{
    const int is_written = letter >= 'A' && letter <= 'Z';
    const char want_class = (char)(is_written ? letter - 'A' + 'a' : letter);
    class_of class;
    int32_t at = 0;
    int64_t value = 0;
    int is_dynamic = 0;
    if (find_register(p, &class, &at) || find_special(p, &class, &at)) {
        static const char letters[] = "phwd";
        const int fits =
            want_class == 'x' ? class != CLASS_PREDICATE : letters[class] == want_class;
        if (!fits)
            ptx_refuse(p, "want a register of another width");
        ins->wide |= (uint8_t)(class == CLASS_64 && k < 8 ? 1 << k : 0);
        ptx_next(p);
        return at;
    }
    if (ptx_is(p, "_") && is_written) {
        ptx_next(p);
        return take_file(p, want_class == 'p' ? CLASS_PREDICATE : CLASS_64, 1);
    }
    if (is_written || want_class == 'p')
        ptx_refuse(p, "want a register");
    if (ptx_is(p, "WARP_SZ")) {
        ptx_next(p);
        return constant(p, 0, PTX_LANES);
    }
    if (find_symbol(p, &value, &is_dynamic)) {
        ptx_next(p);
        return symbol_constant(p, want_class == 'd', value, is_dynamic);
    }
    const int wide = want_class == 'd' || want_class == 'x';
    ins->wide |= (uint8_t)(wide && k < 8 ? 1 << k : 0);
    value = ptx_number(p);
    return constant(p, wide, want_class == 'h' ? (int64_t)(uint16_t)value : value);
}

/* [register + number] or [symbol + number]. */
static int32_t address(ptx_parser *p, int k, int which, ptx_ins *ins)
{
    class_of class;
    int32_t at = 0;
    int64_t value = 0;
    int is_dynamic = 0;
    ptx_want(p, "[");
    if (find_register(p, &class, &at)) {
        if (class != CLASS_32 && class != CLASS_64)
            ptx_refuse(p, "want an address of 32 or 64 bits");
        ins->wide |= (uint8_t)(class == CLASS_64 ? 1 << k : 0);
    } else if (find_symbol(p, &value, &is_dynamic)) {
        at = symbol_constant(p, 1, value, is_dynamic);
        ins->wide |= (uint8_t)(1 << k);
    } else {
        ptx_refuse(p, "want an address");
    }
    ptx_next(p);
    if (ptx_take(p, "+"))
        ins->add[which] = ptx_number(p);
    else if (!ptx_is(p, "]"))
        ins->add[which] = ptx_number(p); /* [%r1-8] */
    ptx_want(p, "]");
    return at;
}

static void punctuation(ptx_parser *p)
{
    while (ptx_is(p, "{") || ptx_is(p, "}") || ptx_is(p, ",") || ptx_is(p, "|"))
        ptx_next(p);
}

static void operands(ptx_parser *p, ptx_ins *ins)
{
    int k = 0, addresses = 0;
    for (const char *letter = ins->row->operands; *letter != '\0'; letter++) {
        punctuation(p);
        if (*letter == 'n') {
            ins->number = ptx_number(p);
        } else if (*letter == 'q' && (*p->now.at == '-' || isdigit((unsigned char)*p->now.at))) {
            ins->number = ptx_number(p) & 1;
        } else if (*letter == '@') {
            ins->operand[k] = address(p, k, addresses++, ins);
            k++;
        } else if (*letter == 'T') {
            p->jumps[p->jump_count++] = (label){p->now, p->f->count};
            ptx_next(p);
        } else if (*letter == '?') { /* shfl's predicate is not used */
            class_of class;
            int32_t at;
            if (find_register(p, &class, &at) && class == CLASS_PREDICATE) {
                ins->operand[k] = at;
                ptx_next(p);
            } else {
                ins->operand[k] = -1;
            }
            k++;
        } else {
            assert(k < PTX_OPERANDS);
            ins->operand[k] = operand(p, (char)(*letter == 'q' ? 'p' : *letter), k, ins);
            k++;
        }
    }
    punctuation(p);
    if (!ptx_is(p, ";"))
        ptx_refuse(p, "want the end of the instruction");
}

/* mov.b32 also takes a register apart and puts one together: rows of their own. */
static const ptx_row *row_now(const ptx_parser *p)
{
    char text[32];
    const char *end = strchr(p->now.at, ';'), *comma = strchr(p->now.at, ',');
    const char *brace = strchr(p->now.at, '{');
    if ((ptx_is(p, "mov.b32") || ptx_is(p, "mov.b64")) && end != NULL && comma != NULL &&
        brace != NULL && brace < end) {
        const int n = snprintf(text, sizeof text, "%.*s:%s", (int)p->now.length, p->now.at,
                               brace < comma ? "apart" : "together");
        return ptx_row_of(text, (size_t)n);
    }
    return ptx_row_of(p->now.at, p->now.length);
}

static void instruction(ptx_parser *p)
{
    ptx_function *f = p->f;
    if (f->count == p->code_room) {
        p->code_room = 2 * p->code_room + 256;
        f->code = realloc(f->code, (size_t)p->code_room * sizeof *f->code);
        if (f->code == NULL)
            ptx_refuse(p, "want memory");
    }
    ptx_ins *ins = &f->code[f->count];
    *ins = (ptx_ins){.guard = -1, .number = -1, .target = -1};
    const char *begin = p->now.at;
    ins->text = (uint32_t)(begin - p->module->text);
    if (ptx_take(p, "@")) {
        class_of class;
        ins->guard_not = (uint8_t)ptx_take(p, "!");
        if (!find_register(p, &class, &ins->guard) || class != CLASS_PREDICATE)
            ptx_refuse(p, "want a predicate");
        ptx_next(p);
    }
    ins->row = row_now(p);
    if (ins->row == NULL)
        ptx_refuse(p, "want an instruction that the interpreter knows");
    ins->run = ins->row->run;
    ptx_next(p);
    if (p->jump_count == LABELS_MAX)
        ptx_refuse(p, "want fewer branches");
    operands(p, ins);
    ins->text_bytes = (uint32_t)(p->now.at - begin) + 1;
    ptx_want(p, ";");
    f->count++;
}

/* ---- functions ---- */

static void parameters(ptx_parser *p)
{
    ptx_function *f = p->f;
    f->param_at = calloc(64, sizeof *f->param_at);
    f->param_bytes = calloc(64, sizeof *f->param_bytes);
    if (f->param_at == NULL || f->param_bytes == NULL)
        ptx_refuse(p, "want memory");
    while (ptx_take(p, ".param")) {
        int32_t align = 0, bytes = 0;
        if (ptx_take(p, ".align"))
            align = (int32_t)ptx_number(p);
        const int is_byte = ptx_is(p, ".b8");
        const class_of class = class_named(p);
        bytes = is_byte ? 1 : class == CLASS_64 ? 8 : class == CLASS_32 ? 4 : 2;
        align = align > 0 ? align : bytes;
        if (f->param_count == 64)
            ptx_refuse(p, "want fewer parameters");
        p->params[f->param_count] = p->now;
        ptx_next(p);
        if (ptx_take(p, "[")) {
            bytes *= (int32_t)ptx_number(p);
            ptx_want(p, "]");
        }
        f->params_bytes = (f->params_bytes + align - 1) / align * align;
        f->param_at[f->param_count] = f->params_bytes;
        f->param_bytes[f->param_count++] = bytes;
        f->params_bytes += bytes;
        (void)ptx_take(p, ",");
    }
    ptx_want(p, ")");
}

/* The end of a function: jumps find their labels, constants the dynamic part. */
static void settle(ptx_parser *p)
{
    ptx_function *f = p->f;
    if (p->dynamic_count > 0)
        f->shared_bytes = (f->shared_bytes + DYNAMIC_ALIGN - 1) / DYNAMIC_ALIGN * DYNAMIC_ALIGN;
    for (int k = 0; k < p->dynamic_count; k++)
        f->constants[p->dynamic[k]].value = f->shared_bytes;
    for (int k = 0; k < p->jump_count; k++) {
        ptx_ins *ins = &f->code[p->jumps[k].at];
        for (int l = 0; l < p->label_count; l++)
            if (ptx_same(p->labels[l].name, p->jumps[k].name))
                ins->target = p->labels[l].at;
        if (ins->target < 0) {
            p->now = p->jumps[k].name;
            ptx_refuse(p, "want a label of this function");
        }
    }
    int line = 1;
    const char *c = p->module->text;
    for (int k = 0; k < f->count; k++) {
        for (const char *end = p->module->text + f->code[k].text; c < end; c++)
            line += *c == '\n';
        f->code[k].line = (uint32_t)line;
    }
}

static void body(ptx_parser *p)
{
    int depth = 1, scope[16] = {0};
    while (depth > 0) {
        if (p->now.length == 0)
            ptx_refuse(p, "want the function's end");
        if (ptx_take(p, "{")) {
            if (depth == 15)
                ptx_refuse(p, "want fewer scopes");
            scope[depth++] = p->name_count;
        } else if (ptx_is(p, "}")) {
            p->name_count = scope[--depth];
            if (depth > 0)
                ptx_next(p);
        } else if (ptx_take(p, ".reg")) {
            declare_registers(p);
        } else if (ptx_take(p, ".shared")) {
            declare_shared(p);
        } else if (ptx_take(p, ".pragma")) {
            ptx_next(p);
            ptx_want(p, ";");
        } else if (p->now.length > 0 && *p->at == ':' && !ptx_is(p, "@")) {
            if (p->label_count == LABELS_MAX)
                ptx_refuse(p, "want fewer labels");
            p->labels[p->label_count++] = (label){p->now, p->f->count};
            ptx_next(p);
            ptx_want(p, ":");
        } else {
            instruction(p);
        }
    }
}

static void function(ptx_parser *p)
{
    ptx_module *m = p->module;
    m->functions = realloc(m->functions, (size_t)(m->count + 1) * sizeof *m->functions);
    if (m->functions == NULL)
        ptx_refuse(p, "want memory");
    p->f = &m->functions[m->count++];
    *p->f = (ptx_function){.name = NULL};
    for (int k = 0; k < PTX_SPECIALS; k++)
        p->f->special[k] = -1;
    p->f->name = strndup(p->now.at, p->now.length);
    p->name_count = p->label_count = p->jump_count = p->dynamic_count = 0;
    p->code_room = p->constant_room = 0;
    for (int k = 0; k < p->variable_count; k++)
        p->variables[k].at = -1;
    ptx_next(p);
    ptx_want(p, "(");
    parameters(p);
    while (!ptx_is(p, "{")) { /* .maxntid, .minnctapersm */
        const int is_threads = ptx_is(p, ".maxntid");
        int64_t product = 1;
        ptx_next(p);
        do
            product *= ptx_number(p);
        while (ptx_take(p, ","));
        if (is_threads)
            p->f->threads_max = (uint32_t)product;
    }
    ptx_next(p);
    body(p);
    settle(p);
    p->f = NULL;
    ptx_want(p, "}");
}

static void module(ptx_parser *p)
{
    ptx_next(p);
    while (p->now.length > 0) {
        if (ptx_take(p, ".version") || ptx_take(p, ".target") || ptx_take(p, ".address_size")) {
            ptx_next(p);
        } else if (ptx_take(p, ".extern") || ptx_take(p, ".visible")) {
            continue;
        } else if (ptx_take(p, ".shared")) {
            declare_shared(p);
        } else if (ptx_take(p, ".entry")) {
            function(p);
        } else {
            ptx_refuse(p, "want a directive that the interpreter knows");
        }
    }
}

ptx_module *ptx_parse(const char *text, char why[PTX_WHY])
{
    ptx_parser *p = calloc(1, sizeof *p);
    ptx_module *m = calloc(1, sizeof *m);
    (void)snprintf(why, PTX_WHY, "PTX: no memory");
    if (p != NULL && m != NULL) {
        m->text = strdup(text);
        p->labels = calloc(LABELS_MAX, sizeof *p->labels);
        p->jumps = calloc(LABELS_MAX, sizeof *p->jumps);
    }
    if (p != NULL && m != NULL && m->text != NULL && p->labels != NULL && p->jumps != NULL) {
        p->module = m;
        p->at = m->text;
        p->why = why;
        if (setjmp(p->out) == 0) {
            module(p);
            why[0] = '\0';
        }
    }
    if (p != NULL) {
        free(p->labels);
        free(p->jumps);
    }
    free(p);
    if (why[0] != '\0')
        ptx_free(&m);
    return m;
}
