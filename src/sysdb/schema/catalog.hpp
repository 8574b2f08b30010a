// The catalog of the DBOS system database at version 125 as data: tables, columns, indexes, and the shared migration that
// brought each. Fresh databases, migrations, repairs and the layout probe all read it.
// Source of the facts: the catalogs in tests/vectors/schema, described in docs/wire/schema.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace dbos::sysdb::schema {

/// The newest shared migration that this library applies.
inline constexpr int kKnownVersion = 125;
/// From here on a version number means the same change in every SDK; below, numbers differ by SDK and prove nothing.
inline constexpr int kSharedBase = 100;
/// An application needs creator and owner tokens (migration 123): without them nothing fences a zombie.
inline constexpr int kAppFloor = 123;
/// Session advisory lock taken by every SDK that locks while it migrates (py: dbos/_sys_db.py).
inline constexpr std::int64_t kMigrationLock = 1234567890;

enum class Type : std::uint8_t {
    text,
    varchar255,  // SQLite: TEXT
    int4,        // always INT4, 32 bits
    int8,        // SQLite: INTEGER
    int8_added,  // SQLite: BIGINT, as the other SDKs added it
    boolean,
    real,
    json,          // JSONB; SQLite: TEXT
    numeric_seq,   // NUMERIC(38,0)
    numeric_time,  // NUMERIC(38,15)
};

enum class Null : std::uint8_t {
    yes,
    no,
    no_on_postgres,  // a single TEXT primary key that the SQLite files of all SDKs leave nullable
};

enum class Default : std::uint8_t {
    none,
    null,      // DEFAULT NULL, spelled out
    epoch_ms,  // now, in milliseconds
    uuid,
    uuid_text,  // the same value, cast on PostgreSQL
    no,         // FALSE
    zero,
    one,
    empty,
    active,
    lease,  // the default lease, 7000 ms
};

struct Column {
    std::string_view name;
    Type type;
    Null null = Null::yes;
    Default value = Default::none;
    int since = 0;  // shared migration; 0 = below 100
};

struct Table {
    std::string_view name;
    std::span<const Column> columns;
    std::string_view primary_key;        // column list as SQL
    std::string_view unique = {};        // one column with a UNIQUE constraint
    std::string_view workflow_key = {};  // column that refers to workflow_status, cascading
    int since = 0;
    bool postgres_only = false;
};

struct Index {
    std::string_view name;
    std::string_view table;
    std::string_view columns;              // as SQL
    std::string_view include = {};         // SQLite: trailing key column
    std::string_view where_postgres = {};  // as PostgreSQL prints it
    std::string_view where_sqlite = {};
    bool unique = false;
    bool gin = false;  // PostgreSQL only
    int since = 0;
};

/// An index of older versions that a shared migration drops.
struct DroppedIndex {
    std::string_view name;
    int version;
};

/// All tables, workflow_status first (others refer to it).
std::span<const Table> tables() noexcept;
std::span<const Index> indexes() noexcept;
std::span<const DroppedIndex> dropped_indexes() noexcept;
const Table* find_table(std::string_view name) noexcept;

/// Whether a shared migration builds or drops indexes CONCURRENTLY on PostgreSQL, outside of a transaction.
bool is_online(int version) noexcept;

/// The table of leases (a table of this library; other SDKs ignore it).
const Table& executors_table() noexcept;

}  // namespace dbos::sysdb::schema
