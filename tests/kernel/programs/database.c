/*
 * database.c: SQLite, whose power is cut.
 *
 *   database write FILE TRANSACTIONS    from number 1 on; says "committed N" behind each; it may be killed at
 *                                       any moment
 *   database check FILE N               after the reboot: SQLite finds its file whole, transaction N and all
 *                                       before it are there completely, and of others nothing or all
 *
 * Transaction t replaces ROWS rows of a table: row r gets the text that (t, r) makes, and the table `done`
 * the number t. So the contents follow from the last number alone.
 */
#include "program.h"
#include <sqlite3.h>

#define ROWS  16
#define TABLE 97 /* rows in all */

static sqlite3 *db;

static void run(const char *sql)
{
    char *message = NULL;

    if (sqlite3_exec(db, sql, NULL, NULL, &message) == SQLITE_OK)
        return;
    printf("%s: %s\n", sql, message);
    exit(EXIT_FAILURE);
}

static int64_t number(const char *sql)
{
    sqlite3_stmt *statement;
    int64_t value = -1;

    must(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    if (sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    must(sqlite3_finalize(statement) == SQLITE_OK);
    return value;
}

/* 20 to 1500 characters. */
static void text_of(char text[1600], uint64_t transaction, uint64_t row)
{
    uint64_t state = transaction * TABLE + row + 1;
    size_t len = 20 + (size_t)(random_next(&state) % 1480);

    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + random_next(&state) % 26);
    text[len] = 0;
}

static uint64_t row_of(uint64_t transaction, uint64_t i)
{
    return (transaction * 31 + i) % TABLE;
}

static void transact(uint64_t transaction)
{
    sqlite3_stmt *put;
    char text[1600];

    run("BEGIN");
    must(sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO rows VALUES (?, ?)", -1, &put, NULL) == SQLITE_OK);
    for (uint64_t i = 0; i < ROWS; i++) {
        text_of(text, transaction, row_of(transaction, i));
        must(sqlite3_bind_int64(put, 1, (int64_t)row_of(transaction, i)) == SQLITE_OK);
        must(sqlite3_bind_text(put, 2, text, -1, SQLITE_TRANSIENT) == SQLITE_OK);
        must(sqlite3_step(put) == SQLITE_DONE && sqlite3_reset(put) == SQLITE_OK);
    }
    must(sqlite3_finalize(put) == SQLITE_OK);
    snprintf(text, sizeof(text), "UPDATE done SET number = %llu", (unsigned long long)transaction);
    run(text);
    run("COMMIT");
}

static void write_all(uint64_t count)
{
    run("CREATE TABLE IF NOT EXISTS rows (row INTEGER PRIMARY KEY, text TEXT)");
    run("CREATE INDEX IF NOT EXISTS by_text ON rows (text)");
    run("CREATE TABLE IF NOT EXISTS done (number INTEGER)");
    run("INSERT INTO done SELECT 0 WHERE NOT EXISTS (SELECT * FROM done)");
    for (uint64_t i = 1; i <= count; i++) {
        transact(i);
        printf("committed %llu\n", (unsigned long long)i);
        fflush(stdout);
    }
}

/* The last of the transactions up to `last` that wrote the row; 0: none has. */
static uint64_t writer_of(uint64_t row, uint64_t last)
{
    for (uint64_t t = last; t > 0; t--)
        for (uint64_t i = 0; i < ROWS; i++)
            if (row_of(t, i) == row)
                return t;
    return 0;
}

static void check(uint64_t least)
{
    sqlite3_stmt *get;
    char text[1600];
    uint64_t found = 0, expected = 0;

    must(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &get, NULL) == SQLITE_OK);
    must(sqlite3_step(get) == SQLITE_ROW);
    if (strcmp((const char *)sqlite3_column_text(get, 0), "ok") != 0) {
        printf("integrity_check: %s\n", sqlite3_column_text(get, 0));
        exit(EXIT_FAILURE);
    }
    must(sqlite3_finalize(get) == SQLITE_OK);
    if (least == 0 && number("SELECT count(*) FROM sqlite_schema WHERE name = 'done'") == 0)
        return; /* the power went before anything was promised */
    uint64_t last = (uint64_t)(least == 0 ? number("SELECT coalesce(max(number), 0) FROM done")
                                          : number("SELECT number FROM done"));
    if (last < least) {
        printf("transaction %llu was committed, and the last is %llu\n", (unsigned long long)least,
               (unsigned long long)last);
        exit(EXIT_FAILURE);
    }
    for (uint64_t row = 0; row < TABLE; row++)
        expected += writer_of(row, last) != 0;
    must(sqlite3_prepare_v2(db, "SELECT row, text FROM rows", -1, &get, NULL) == SQLITE_OK);
    for (; sqlite3_step(get) == SQLITE_ROW; found++) {
        uint64_t row = (uint64_t)sqlite3_column_int64(get, 0);
        text_of(text, writer_of(row, last), row);
        must(strcmp(text, (const char *)sqlite3_column_text(get, 1)) == 0);
    }
    must(sqlite3_finalize(get) == SQLITE_OK && found == expected);
}

int main(int argc, char **argv)
{
    must(argc == 4);
    must(sqlite3_open(argv[2], &db) == SQLITE_OK);
    /* Commits only when the journal's name is gone for good, too: or it would be rolled back. */
    run("PRAGMA synchronous = EXTRA");
    uint64_t n = strtoull(argv[3], NULL, 10);
    if (strcmp(argv[1], "write") == 0)
        write_all(n);
    else
        check(n);
    must(sqlite3_close(db) == SQLITE_OK);
    return ok();
}
