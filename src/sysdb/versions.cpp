// Application versions (queues-and-schedules.md 6; system-database.md 4). Names are unique today, but the shared schema may
// drop that in favour of one row per application and name: no statement here infers a unique constraint.
#include <algorithm>

#include "sysdb/claim_sql.hpp"
#include "sysdb/database.hpp"
#include "sysdb/listing_text.hpp"
#include "sysdb/manage.hpp"
#include "sysdb/managed_write.hpp"
#include "value/uuid.hpp"

namespace dbos::sysdb {

namespace {

constexpr sql::Statement kAdopt{
    "version_adopt",
    "UPDATE @application_versions SET application_name = CAST($2 AS TEXT)"
    " WHERE version_name = CAST($1 AS TEXT) AND application_name IS NULL AND NOT EXISTS ("
    "  SELECT 1 FROM @application_versions v WHERE v.version_name = CAST($1 AS TEXT)"
    "   AND v.application_name = CAST($2 AS TEXT))"};

constexpr Dialects kInsert{
    {"version_insert",
     "INSERT INTO @application_versions (version_id, version_name, version_timestamp, created_at, "
     "application_name)"
     " SELECT $1::text, $2::text, t.now, t.now, $3::text FROM (SELECT " DBOS_CLOCK_PG " AS now) t"
     " WHERE NOT EXISTS (SELECT 1 FROM @application_versions WHERE version_name = $2::text"
     "  AND ($3::text IS NULL OR application_name = $3::text)) ON CONFLICT DO NOTHING"},
    {"version_insert",
     "INSERT INTO application_versions (version_id, version_name, version_timestamp, created_at, "
     "application_name)"
     " SELECT $1, $2, $4, $4, $3"
     " WHERE NOT EXISTS (SELECT 1 FROM application_versions WHERE version_name = $2"
     "  AND ($3 IS NULL OR application_name = $3)) ON CONFLICT DO NOTHING"}};

constexpr sql::Statement kOwners{
    "version_owners",
    "SELECT application_name FROM @application_versions WHERE version_name = CAST($1 AS TEXT)",
    sql::Access::read};

// One branch per status, each by its own partial index.
#define DBOS_ACTIVE(status_condition)                                                                      \
    "SELECT application_version AS version, count(*) AS n FROM @workflow_status WHERE " status_condition   \
    " AND application_version IS NOT NULL AND (CAST($1 AS TEXT) IS NULL OR application_name = CAST($1 AS " \
    "TEXT)"                                                                                                \
    " OR application_name IS NULL) GROUP BY application_version"
constexpr sql::Statement kActive{
    "version_active",
    "SELECT a.version, sum(a.n) FROM (" DBOS_ACTIVE("status = 'PENDING'") " UNION ALL " DBOS_ACTIVE(
        "status = 'ENQUEUED' AND status IN ('ENQUEUED', 'PENDING')") " UNION ALL " DBOS_ACTIVE("status = 'DELAYED'") ") a"
    " GROUP BY a.version ORDER BY a.version",
    sql::Access::read};

}  // namespace

void SystemDatabase::register_version(const std::string& version, const Text& application_name) {
    Core& core = *core_;
    const std::string id = uuid4();
    core.with_connection([&](sql::Connection& connection) {
        sql::Transaction transaction(connection);
        if (application_name) {
            connection.execute(kAdopt, {std::string_view(version), std::string_view(*application_name)});
        }
        sql::Params params{std::string_view(id), std::string_view(version), sql::opt(application_name)};
        if (core.backend == sql::Backend::sqlite) params.emplace_back(core.clock.now_ms());
        connection.execute(kInsert.on(core.backend), params);
        const sql::Result owners = connection.execute(kOwners, {std::string_view(version)});
        bool ours = !application_name;
        Text other;
        for (std::size_t row = 0; row < owners.size(); ++row) {
            const Text owner = owners.at(row, 0).optional_text();
            if (owner == application_name) ours = true;
            if (owner != application_name) other = owner;
        }
        if (!ours) {
            throw ConfigError("version \"" + version + "\" cannot be registered by application \"" +
                              *application_name + "\": it belongs to application \"" + other.value_or("") +
                              "\". Set another application_version, for instance \"" + *application_name +
                              "-" + version + "\"");
        }
        transaction.commit();
        return true;
    });
    core.claims->forget_all();
}

Text SystemDatabase::latest_version(const Text& application_name) {
    return core_->with_connection([&](sql::Connection& connection) -> Text {
        const sql::Result found = connection.execute(kLatestVersion, {sql::opt(application_name)});
        return found.empty() ? std::nullopt : found.at(0, 0).optional_text();
    });
}

std::vector<std::pair<std::string, std::int64_t>> SystemDatabase::active_versions(
    const Text& application_name) {
    Core& core = *core_;
    return core.with_lane(core.maintenance_lane, [&](sql::Connection& connection) {
        const sql::Result found = connection.execute(kActive, {sql::opt(application_name)});
        std::vector<std::pair<std::string, std::int64_t>> versions;
        for (std::size_t row = 0; row < found.size(); ++row) {
            versions.emplace_back(found.at(row, 0).string(), found.at(row, 1).integer());
        }
        return versions;
    });
}

std::vector<VersionRow> SystemDatabase::list_versions(const Text& application_name, std::int64_t limit,
                                                      Millis timeout_ms) {
    return core_->with_connection([&](sql::Connection& connection) {
        const Layout layout = core_->layout(connection);
        std::vector<VersionRow> versions;
        if (!layout.versions) return versions;
        ConditionText conditions(layout, connection.backend());
        ListQuery::Texts owner;
        if (application_name) owner = {*application_name};
        conditions.one_of(layout.ownership ? "v.application_name" : nullptr, owner, true);
        const std::string text =
            std::string("SELECT v.version_id, v.version_name, v.version_timestamp, v.created_at, ") +
            (layout.ownership ? "v.application_name" : "NULL") + " FROM @application_versions v" +
            conditions.where() + " ORDER BY v.version_timestamp DESC, v.version_name LIMIT $" +
            conditions.add(limit) + conditions.cast();
        sql::Transaction transaction(connection, sql::Isolation::read_only);
        if (timeout_ms > 0 && connection.backend() == sql::Backend::postgres) {
            const std::string time = std::to_string(timeout_ms);
            connection.execute(kListingTimeout, {std::string_view(time)});
        }
        const sql::Result found = connection.query(text, conditions.params());
        transaction.commit();
        for (std::size_t row = 0; row < found.size(); ++row) {
            versions.push_back({found.at(row, 0).string(), found.at(row, 1).string(),
                                found.at(row, 2).integer(), found.at(row, 3).integer(),
                                found.at(row, 4).optional_text()});
        }
        return versions;
    });
}

namespace {

/// The row that a promotion means: that of the owner asked for, or else the unclaimed one, or the only one.
std::string version_to_promote(const sql::Result& found, const std::string& version,
                               const Text& application_name) {
    if (found.empty()) {
        throw NotFound("set_latest_version: no application has registered version \"" + version + '"');
    }
    std::string unclaimed, others, id;
    for (std::size_t row = 0; row < found.size(); ++row) {
        const Text owner = found.at(row, 1).optional_text();
        if (owner == application_name) return found.at(row, 0).string();
        id = found.at(row, 0).string();
        if (!owner) {
            unclaimed = id;
        } else {
            others += (others.empty() ? "\"" : ", \"") + *owner + '"';
        }
    }
    if (!unclaimed.empty()) return unclaimed;
    if (!application_name && found.size() == 1) return id;
    if (!application_name) {
        throw ConfigError("set_latest_version: version \"" + version + "\" is registered by " + others +
                          "; say which one with application_name");
    }
    throw ConfigError("set_latest_version: version \"" + version + "\" belongs to " + others + ", not to \"" +
                      *application_name + '"');
}

}  // namespace

void SystemDatabase::promote_version(const std::string& version, const Text& application_name) {
    Core& core = *core_;
    managed_write(core, {.name = "set_latest_version", .repeat = Repeat::never}, [&](ManagedWrite& write) {
        if (!write.layout.versions) {
            throw NotFound("set_latest_version: this system database is from before versions were kept");
        }
        const char* const owner = write.layout.ownership ? "v.application_name" : "NULL";
        // All of them: two promotions at once must not read the same highest timestamp.
        const std::string lock = write.postgres() ? " ORDER BY v.version_id FOR NO KEY UPDATE" : "";
        write.write("SELECT v.version_id FROM @application_versions v" + lock, {});
        const sql::Result found =
            write.connection.query(std::string("SELECT v.version_id, ") + owner +
                                       " FROM @application_versions v WHERE v.version_name = $1",
                                   {std::string_view(version)});
        const std::string id = version_to_promote(found, version, application_name);
        const sql::Result highest =
            write.connection.query("SELECT max(v.version_timestamp) FROM @application_versions v");
        const Millis timestamp =
            std::max(write.now_ms(), highest.at(0, 0).optional_integer().value_or(0) + 1);
        std::string sets = "version_timestamp = $2";
        sql::Params params{std::string_view(id), timestamp};
        if (write.layout.ownership) {
            sets += ", application_name = COALESCE(application_name, $3)";
            params.push_back(sql::opt(application_name));
        }
        write.write("UPDATE @application_versions SET " + sets + " WHERE version_id = $1", params);
    });
    core.claims->forget_all();
}

}  // namespace dbos::sysdb
