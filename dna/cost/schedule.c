/* The recurrence of dna/cost/schedule.py, over instructions that dna/cost/packed.py has laid out in rows.
 *
 * It is the same walk in the same order, so every figure is the same; what it means and why is said there and in
 * dna/cost/{counters,dispatch,ports}.py. Rows of equal bursts are walked burst by burst: nothing is left out.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t i64;

/* Given by dna/cost/native.py, from the constants of the Python modules: QUEUE, RANGE, PASSES_KEPT, PAGE, PAGE_DELAY,
 * CAPTURE, POST, READ_LATENCY. */
enum { WIDTH = 13, KEPT = RANGE / 2, PORTS = 3, WRITE = 2 };
enum { END, LOAD, STORE, LAYER, TILE, WAIT };
enum { INPUT, WEIGHT, PARAM, RESIDUAL, PROGRAM };
enum { INPUTS, WEIGHTS, PARAMS, RESIDUALS, OUTPUTS, TOTALS };
enum { BUSY, W_INPUT, W_WEIGHT, W_RESIDUAL, W_OUTPUT, W_JOB, CAUSES };
enum { OK, DEADLOCK, NO_MEMORY, MISFIT };

#define LONG_AGO (-((i64)1 << 60))

static const i64 BOOTSTRAP[WIDTH] = {LOAD, 0, PROGRAM, 0, 0, 1, -1, 0, 2 * PAGE, 1, 0, 1, 0};

typedef struct { i64 count, *recent; } Counter;               /* 12 bits, the older half of the range forgotten */
typedef struct { i64 per_pass, size, count, *recent; } PassCounter;
typedef struct { i64 count, pops[QUEUE]; } Queue;
typedef struct { i64 read_latency, interval, write_latency; } Memory;

typedef struct {
    Memory memory, serving;
    i64 target, server_free, memory_free, head, outstanding, burst, pace, free, entered, oldest, last_word, issued, *ends;
} Port;

typedef struct {
    const i64 *rows, *layer;
    i64 size, px, weight_port, ports;
    Port port[PORTS];
    Queue queue[PORTS], compute;
    Counter loaded[PROGRAM], freed[PROGRAM], ready, stored;   /* of `loaded`, PARAM is never used */
    PassCounter committed, fetched;
    i64 next, index, pages, *page;                            /* the sequencer */
    i64 offsets[TOTALS], number, at, free, drained, quiet, done, counts[CAUSES];
    i64 layers, computed, commits, *computed_out, *commits_out;
} Chunk;

static i64 most(i64 a, i64 b) { return a > b ? a : b; }

static void event(Counter *c, i64 cycle) { c->recent[c->count++ % KEPT] = cycle + 1; }

static i64 reached(const Counter *c, i64 threshold) {
    i64 behind = ((c->count - threshold) % RANGE + RANGE) % RANGE;
    return behind < KEPT && behind < c->count ? c->recent[(c->count - 1 - behind) % KEPT] : 0;
}

static void pass_event(PassCounter *c, i64 cycle) {
    if (c->size) c->recent[c->count % c->size] = cycle + 1;
    c->count++;
}

static int pass_reached(const PassCounter *c, i64 number, i64 index, i64 *cycle) {
    i64 value = number * c->per_pass + index;
    *cycle = 0;
    if (value <= 0) return OK;
    if (value > c->count || index > c->per_pass || c->count - value >= c->size) return DEADLOCK;
    *cycle = c->recent[(value - 1) % c->size];
    return OK;
}

static i64 queue_ready(const Queue *q) { return q->count >= QUEUE ? q->pops[q->count % QUEUE] + 1 : 0; }

static i64 visible(const Queue *q, i64 dispatched) {
    return most(dispatched, q->count ? q->pops[(q->count - 1) % QUEUE] : 0) + 1;
}

static void pop(Queue *q, i64 cycle) { q->pops[q->count++ % QUEUE] = cycle; }

static int dispatch(Chunk *c, i64 ready, i64 *cycle) {
    i64 earliest = c->next;
    if (c->index >= 0) {
        i64 page = c->index / PAGE;
        if (page >= c->pages) return DEADLOCK;
        earliest = most(earliest, c->page[page] + PAGE_DELAY);
    }
    *cycle = most(earliest, ready);
    c->next = *cycle + 1;
    c->index++;
    return OK;
}

static i64 last_end(const Port *p) { return p->ends[(p->oldest + p->outstanding - 1) % p->outstanding]; }

static void bursts(Port *p, i64 words, i64 count, int write) {
    i64 beats = words * p->pace * p->serving.interval;
    for (; count > 0; count--) {
        i64 first, end = p->ends[p->oldest];
        p->entered = most(p->entered, end) + 1;
        if (write) {
            i64 issue = most(p->entered + 1, p->issued + p->pace);
            p->issued = issue + (words - 1) * p->pace;
            first = issue + READ_LATENCY + 3;
        } else {
            first = p->entered + 1 + p->serving.read_latency;
        }
        p->server_free = most(first, p->server_free) + beats;
        p->ends[p->oldest] = p->server_free - p->serving.interval + (write ? p->serving.write_latency : 0);
        p->oldest = p->oldest + 1 < p->outstanding ? p->oldest + 1 : 0;
    }
}

static void aim(Port *p, i64 target, const Memory *link) {
    if (target == p->target) return;
    p->entered = most(p->entered, last_end(p));
    if (p->target < 0) p->memory_free = p->server_free;
    p->server_free = target < 0 ? p->memory_free : LONG_AGO;
    p->serving = target < 0 ? p->memory : *link;
    p->target = target;
}

static i64 move(Port *p, const i64 *job, i64 available, i64 waits, int write, const Memory *link) {
    i64 popped = most(most(available, waits), p->free), run = job[8];
    p->head = popped + 1;
    p->entered = most(p->entered, popped);
    aim(p, job[6], link);
    for (i64 row = 0; row < job[11]; row++)
        for (i64 part = 0; part < job[9]; part++) {
            i64 start = (job[7] + row * job[12] + part * job[10]) & (p->burst - 1);
            i64 head = -start & (p->burst - 1), full, tail;
            if (head > run) head = run;
            full = (run - head) / p->burst;
            tail = (run - head) % p->burst;
            if (head) bursts(p, head, 1, write);
            if (full) bursts(p, p->burst, full, write);
            if (tail) bursts(p, tail, 1, write);
        }
    p->free = p->entered;
    return popped;
}

static int load(Chunk *c, const i64 *job, i64 port, const Memory *link) {
    Port *p = &c->port[port];
    Queue *queue = &c->queue[port];
    i64 dispatched, waits = 0, dest = job[2], popped;
    if (dispatch(c, queue_ready(queue), &dispatched)) return DEADLOCK;
    if (job[3] && pass_reached(&c->committed, c->number, job[3], &waits)) return DEADLOCK;
    if (dest != PROGRAM) waits = most(waits, reached(&c->freed[dest], job[4] + c->offsets[dest]));
    popped = move(p, job, visible(queue, dispatched), waits, 0, link);
    p->last_word = last_end(p) + 1;
    pop(queue, popped);
    c->quiet = most(c->quiet, p->last_word + 1);
    if (dest == PROGRAM) c->page[c->pages++] = p->last_word;
    else if (job[5]) event(&c->loaded[dest == PARAM ? WEIGHT : dest], p->last_word);
    if (dest == INPUT || dest == RESIDUAL) pass_event(&c->fetched, p->last_word);
    return OK;
}

static int store(Chunk *c, const i64 *job, const Memory *link) {
    Port *p = &c->port[WRITE];
    Queue *queue = &c->queue[WRITE];
    i64 dispatched, waits, committed;
    if (dispatch(c, queue_ready(queue), &dispatched)) return DEADLOCK;
    waits = reached(&c->ready, job[1] + c->offsets[OUTPUTS]);
    pop(queue, move(p, job, visible(queue, dispatched), waits, 1, link));
    committed = last_end(p) + 1;
    event(&c->stored, p->issued + READ_LATENCY + 2);
    pass_event(&c->committed, committed);
    c->quiet = most(c->quiet, committed + 1);
    if (job[2] && !c->number) {
        if (c->commits >= c->layers) return MISFIT;
        c->commits_out[c->commits++] = committed;
    }
    return OK;
}

static int wait(Chunk *c, const i64 *job, const Chunk *peer) {
    Queue *queue = &c->queue[job[1]];
    Port *p = &c->port[job[1]];
    i64 dispatched, seen, popped;
    if (dispatch(c, queue_ready(queue), &dispatched)) return DEADLOCK;
    if (pass_reached(job[2] ? &peer->fetched : &peer->committed, c->number - job[4], job[5], &seen)) return DEADLOCK;
    popped = most(most(visible(queue, dispatched), seen), p->head);
    p->head = popped + 1;
    p->free = most(p->free, p->head);
    pop(queue, popped);
    c->quiet = most(c->quiet, popped + 1);
    return OK;
}

static int set_layer(Chunk *c, const i64 *job) {
    Queue *reads = &c->queue[0], *compute = &c->compute;
    Port *p = &c->port[0];
    i64 dispatched, started, popped, walk = c->px + 1;
    if (dispatch(c, most(queue_ready(reads), queue_ready(compute)), &dispatched)) return DEADLOCK;
    started = most(most(visible(reads, dispatched), p->last_word + 1), p->free) + 1;
    p->head = p->free = started + walk + 1;
    pop(reads, started + walk);
    popped = most(most(visible(compute, dispatched), c->free), c->drained) + walk;
    pop(compute, popped);
    c->counts[W_JOB] += popped + 1 - c->free;
    c->free = popped + 1;
    c->layer = job;
    return OK;
}

static i64 start(Chunk *c, const i64 *job, i64 head) {
    const i64 seen[4] = {
        reached(&c->loaded[INPUT], job[8] + c->offsets[INPUTS]),
        reached(&c->loaded[WEIGHT], job[9] + c->offsets[WEIGHTS]),
        reached(&c->loaded[RESIDUAL], job[10] + c->offsets[RESIDUALS]),
        reached(&c->stored, job[11] + c->offsets[OUTPUTS]),
    };
    c->counts[W_JOB] += head - c->free + 1;
    for (int cause = 0; cause < 4; cause++) {
        c->counts[W_INPUT + cause] += most(0, seen[cause] - head);
        head = most(head, seen[cause]);
    }
    return head;
}

static int tile(Chunk *c, const i64 *job) {
    Queue *queue = &c->compute;
    const i64 *layer = c->layer;
    i64 dispatched, begin, end, captured, idle = job[3];
    i64 pixels = job[1] * layer[3] * layer[4], mac = layer[1] * layer[2] * job[2];
    if (dispatch(c, queue_ready(queue), &dispatched)) return DEADLOCK;
    begin = start(c, job, most(visible(queue, dispatched), c->free));
    pop(queue, begin);
    c->counts[BUSY] += pixels * mac;
    c->counts[W_OUTPUT] += pixels * idle;
    end = begin + pixels * (mac + idle);
    c->free = end + 1;
    if (job[4]) event(&c->freed[INPUT], end);
    if (job[5]) event(&c->freed[WEIGHT], end);
    captured = end - idle + CAPTURE;
    c->drained = captured;
    if (job[6]) {
        i64 ready = captured + layer[5] * job[7] + POST;
        c->drained = ready + 1;
        event(&c->ready, ready);
        if (job[5]) event(&c->freed[PARAM], ready);
        if (layer[6]) event(&c->freed[RESIDUAL], ready);
    }
    c->quiet = most(c->quiet, most(c->drained, c->free));
    if (!c->number && job[12]) {
        if (c->computed >= c->layers) return MISFIT;
        i64 *out = c->computed_out + c->computed++ * (1 + CAUSES);
        out[0] = end + 1;
        memcpy(out + 1, c->counts, sizeof c->counts);
    }
    return OK;
}

static int end_pass(Chunk *c, const i64 *job, int final, const Memory *link) {
    i64 cycle, committed;
    if (final) {
        if (dispatch(c, c->quiet, &cycle)) return DEADLOCK;
        c->done = cycle + 1;
        c->counts[W_JOB] += c->done - c->free;
        return OK;
    }
    if (pass_reached(&c->committed, c->number, 0, &committed) || dispatch(c, committed, &cycle)) return DEADLOCK;
    c->pages = 0;
    c->index = -1;
    for (int total = 0; total < TOTALS; total++) c->offsets[total] += job[1 + total];
    c->number++;
    c->at = 0;
    return load(c, BOOTSTRAP, c->weight_port, link);
}

static int step(Chunk *chunks, i64 index, i64 count, int final, const Memory *link) {
    Chunk *c = &chunks[index];
    const i64 *job = c->rows + WIDTH * c->at++;
    if (c->at > c->size) return MISFIT;
    switch (job[0]) {
    case LOAD: return load(c, job, job[1], link);
    case STORE: return store(c, job, link);
    case LAYER: return set_layer(c, job);
    case TILE: return c->layer ? tile(c, job) : MISFIT;
    case WAIT: return job[3] < count ? wait(c, job, &chunks[job[3]]) : MISFIT;
    default: return end_pass(c, job, final, link);
    }
}

static int counters(Chunk *c, i64 *room) {
    Counter *all[] = {&c->loaded[INPUT], &c->loaded[WEIGHT], &c->loaded[RESIDUAL], &c->freed[INPUT], &c->freed[WEIGHT],
                      &c->freed[PARAM], &c->freed[RESIDUAL], &c->ready, &c->stored};
    int count = sizeof all / sizeof *all;
    for (int n = 0; room && n < count; n++) all[n]->recent = room + n * KEPT;
    return count * KEPT;
}

/* One chunk's figures: rows, px, weight port, ports, burst words, outstanding, beats per word, layers. */
enum { F_ROWS, F_PX, F_WEIGHT_PORT, F_PORTS, F_BURST, F_OUTSTANDING, F_PACE, F_LAYERS, FIGURES };

static i64 *set_up(Chunk *c, const i64 *figures, const i64 *rows, const i64 *memories) {
    i64 fetches = 0, stores = 0, pages = 1, outstanding = figures[F_OUTSTANDING], *room, *all;
    c->rows = rows;
    c->size = figures[F_ROWS];
    for (const i64 *job = rows; job < rows + WIDTH * c->size; job += WIDTH) {
        fetches += job[0] == LOAD && (job[2] == INPUT || job[2] == RESIDUAL);
        pages += job[0] == LOAD && job[2] == PROGRAM;
        stores += job[0] == STORE;
    }
    all = room = calloc(counters(c, NULL) + PASSES_KEPT * (fetches + stores) + pages + PORTS * outstanding, sizeof *room);
    if (!room) return NULL;
    room += counters(c, room);
    c->fetched = (PassCounter){fetches, PASSES_KEPT * fetches, 0, room};
    c->committed = (PassCounter){stores, PASSES_KEPT * stores, 0, room += PASSES_KEPT * fetches};
    c->page = room += PASSES_KEPT * stores;
    room += pages;
    for (int n = 0; n < PORTS; n++, room += outstanding) {
        const i64 *timing = memories + 3 * (n < figures[F_PORTS] ? n : 0);
        Memory memory = {timing[0], timing[1], timing[2]};
        c->port[n] = (Port){memory, memory, -1, LONG_AGO, LONG_AGO, 0, outstanding, figures[F_BURST], figures[F_PACE],
                            0, LONG_AGO, 0, LONG_AGO, LONG_AGO, room};
        for (i64 slot = 0; slot < outstanding; slot++) room[slot] = LONG_AGO;
    }
    c->px = figures[F_PX];
    c->weight_port = figures[F_WEIGHT_PORT];
    c->layers = figures[F_LAYERS];
    c->next = c->free = 1;
    c->index = -1;
    return all;
}

static int walk(Chunk *chunks, i64 count, const int32_t *order, i64 steps, i64 passes, const Memory *link, i64 *ends) {
    for (i64 n = 0; n < count; n++) {
        int failed = load(&chunks[n], BOOTSTRAP, chunks[n].weight_port, link);
        if (failed) return failed;
    }
    for (i64 pass = 0; pass < passes; pass++) {
        for (i64 n = 0; n < steps; n++) {
            int failed = step(chunks, order[n], count, pass == passes - 1, link);
            if (failed) return failed;
        }
        ends[pass] = LONG_AGO;
        for (i64 n = 0; n < count; n++) {
            const PassCounter *c = &chunks[n].committed;
            if (c->size && c->count) ends[pass] = most(ends[pass], c->recent[(c->count - 1) % c->size]);
        }
    }
    return OK;
}

/* `figures`: FIGURES of each chunk. `rows`: WIDTH of each instruction, chunk after chunk. `memories`: read latency, beat
 * interval and write latency of each port, chunk after chunk; `link`: of links. `order`: the chunk of each step of a pass.
 * Results: `ends` of each pass; by chunk `totals`: done and causes; by layer in the chunks' order `computed`: cycle and
 * causes so far, and `commits`. Returns OK, or why there is no result. */
int dna_schedule(i64 count, const i64 *figures, const i64 *rows, const i64 *memories, const i64 *link,
                 const int32_t *order, i64 steps, i64 passes, i64 *ends, i64 *totals, i64 *computed, i64 *commits) {
    const Memory of_links = {link[0], link[1], link[2]};
    Chunk *chunks = calloc(count, sizeof *chunks);
    i64 **rooms = calloc(count, sizeof *rooms);
    int result = chunks && rooms ? OK : NO_MEMORY;
    for (i64 n = 0; n < count && !result; n++, figures += FIGURES) {
        rooms[n] = set_up(&chunks[n], figures, rows, memories);
        if (!rooms[n]) result = NO_MEMORY;
        chunks[n].computed_out = computed;
        chunks[n].commits_out = commits;
        rows += WIDTH * figures[F_ROWS];
        memories += 3 * figures[F_PORTS];
        computed += (1 + CAUSES) * figures[F_LAYERS];
        commits += figures[F_LAYERS];
    }
    if (!result) result = walk(chunks, count, order, steps, passes, &of_links, ends);
    for (i64 n = 0; n < count && !result; n++) {
        if (chunks[n].computed != chunks[n].layers || chunks[n].commits != chunks[n].layers) result = MISFIT;
        totals[n * (1 + CAUSES)] = chunks[n].done;
        memcpy(totals + n * (1 + CAUSES) + 1, chunks[n].counts, sizeof chunks[n].counts);
    }
    for (i64 n = 0; n < count && rooms; n++) free(rooms[n]);
    free(rooms);
    free(chunks);
    return result;
}
