/* What STOREs of one chunk overwrite: the walk of `Hazards.of_writes` (dna/compile/waits.py) over blocks of words. */

#include <stdint.h>
#include <stdlib.h>

typedef int64_t i64;

/* One block of one STORE and one reader: its bank (-1: memory), the address of the first of its words' last LOADs and
 * their strides from row to row and group to group, the block's first address in the bank and its strides, its size. */
enum { BANK, READS, READ_ROW, READ_GROUP, FIRST, ROW, GROUP, ROWS, GROUPS, COLS, FIELDS };

typedef struct { i64 depth; int32_t *until; i64 *seen; } Bank;

static i64 last_read(const i64 *b) {
    const int32_t *reads = (const int32_t *)(intptr_t)b[READS];
    i64 most = 0;
    for (i64 r = 0; r < b[ROWS]; r++)
        for (i64 g = 0; g < b[GROUPS]; g++)
            for (i64 c = 0; c < b[COLS]; c++) {
                i64 read = reads[r * b[READ_ROW] + g * b[READ_GROUP] + c];
                if (read > most) most = read;
            }
    return most;
}

/* New words come; returns what must be read before, `never` if some of the words lie in the same place. */
static i64 store(Bank *bank, const i64 *b, i64 stamp, i64 in_pass, i64 never) {
    const int32_t *reads = (const int32_t *)(intptr_t)b[READS];
    i64 until = 0;
    int twice = 0;
    for (i64 r = 0; r < b[ROWS]; r++)
        for (i64 g = 0; g < b[GROUPS]; g++) {
            i64 place = (b[FIRST] + r * b[ROW] + g * b[GROUP]) % bank->depth;
            for (i64 c = 0; c < b[COLS]; c++, place = place + 1 < bank->depth ? place + 1 : 0) {
                i64 read = reads[r * b[READ_ROW] + g * b[READ_GROUP] + c];
                twice |= bank->seen[place] == stamp;
                if (bank->seen[place] != stamp && bank->until[place] > until) until = bank->until[place];
                bank->seen[place] = stamp;
                bank->until[place] = read > 0 ? (int32_t)(read + in_pass) : 0;
            }
        }
    return twice ? never : until;
}

/* `until`: by block, the last LOAD of what lies where it comes to lie (in the bank's terms), or of its words in memory.
 * Returns 0, or 1 without memory. */
int dna_overwritten(i64 count, const i64 *blocks, i64 banks, const i64 *depths, i64 before, i64 same, i64 never,
                    i64 *until) {
    Bank *all = calloc(banks ? banks : 1, sizeof *all);
    int failed = !all;
    for (i64 n = 0; n < banks && !failed; n++) {
        all[n] = (Bank){depths[n], calloc(depths[n], sizeof(int32_t)), calloc(depths[n], sizeof(i64))};
        failed = !all[n].until || !all[n].seen;
    }
    for (i64 turn = 0; turn < 2 && !failed; turn++)
        for (i64 n = 0; n < count; n++) {
            const i64 *block = blocks + FIELDS * n;
            if (block[BANK] >= 0)
                until[n] = store(&all[block[BANK]], block, turn * count + n + 1, turn ? same : before, never);
            else
                until[n] = last_read(block);
        }
    for (i64 n = 0; n < banks && all; n++) {
        free(all[n].until);
        free(all[n].seen);
    }
    free(all);
    return failed;
}
