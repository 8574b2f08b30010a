#include "chaos/pg/server.hpp"

#include <libpq-fe.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>
#include <vector>

extern char** environ;

namespace dbos::chaos {

namespace {

constexpr const char* kWatch = R"sql(
CREATE TABLE @chaos_history (id bigserial PRIMARY KEY, kind text, subject text, actor text, verb text, old_status text,
    status text, old_owner text, owner text, old_executor text, executor text, queue text, old_outcome text, outcome text,
    pid int, expires_at bigint, key text, started_at bigint);

CREATE FUNCTION @chaos_row() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO @chaos_history (kind, subject, actor, verb, status, owner, executor, queue, key, started_at)
            VALUES ('row', NEW.workflow_uuid, current_setting('chaos.actor', true), TG_OP, NEW.status, NEW.owner_xid,
                    NEW.executor_id, NEW.queue_name, NEW.queue_partition_key, NEW.started_at_epoch_ms);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO @chaos_history (kind, subject, actor, verb, old_status)
            VALUES ('row', OLD.workflow_uuid, current_setting('chaos.actor', true), TG_OP, OLD.status);
    ELSIF (OLD.status, OLD.owner_xid, OLD.executor_id, OLD.queue_name, OLD.output, OLD.error)
        IS DISTINCT FROM (NEW.status, NEW.owner_xid, NEW.executor_id, NEW.queue_name, NEW.output, NEW.error) THEN
        INSERT INTO @chaos_history (kind, subject, actor, verb, old_status, status, old_owner, owner, old_executor, executor,
                                    queue, old_outcome, outcome, key, started_at)
            VALUES ('row', NEW.workflow_uuid, current_setting('chaos.actor', true), TG_OP, OLD.status, NEW.status,
                    OLD.owner_xid, NEW.owner_xid, OLD.executor_id, NEW.executor_id, NEW.queue_name,
                    coalesce(OLD.output, '') || coalesce(OLD.error, ''), coalesce(NEW.output, '') || coalesce(NEW.error, ''),
                    NEW.queue_partition_key, NEW.started_at_epoch_ms);
    END IF;
    RETURN NULL;
END $body$;
CREATE TRIGGER chaos_row AFTER INSERT OR UPDATE OR DELETE ON @workflow_status
    FOR EACH ROW EXECUTE FUNCTION @chaos_row();

CREATE FUNCTION @chaos_output() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO @chaos_history (kind, subject, actor, verb, old_outcome)
            VALUES ('output', OLD.workflow_uuid, current_setting('chaos.actor', true), TG_OP,
                    coalesce(OLD.output, '') || coalesce(OLD.error, ''));
    ELSIF (OLD.output, OLD.error) IS DISTINCT FROM (NEW.output, NEW.error) THEN
        INSERT INTO @chaos_history (kind, subject, actor, verb, old_outcome, outcome)
            VALUES ('output', NEW.workflow_uuid, current_setting('chaos.actor', true), TG_OP,
                    coalesce(OLD.output, '') || coalesce(OLD.error, ''), coalesce(NEW.output, '') || coalesce(NEW.error, ''));
    END IF;
    RETURN NULL;
END $body$;
CREATE TRIGGER chaos_output AFTER UPDATE OR DELETE ON @workflow_output
    FOR EACH ROW EXECUTE FUNCTION @chaos_output();

CREATE FUNCTION @chaos_record() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO @chaos_history (kind, subject, actor, verb, old_outcome)
            VALUES ('record', OLD.workflow_uuid || ' ' || OLD.function_id, current_setting('chaos.actor', true), TG_OP,
                    coalesce(OLD.output, '') || coalesce(OLD.error, ''));
    ELSIF (OLD.function_name, OLD.output, OLD.error, OLD.child_workflow_id)
        IS DISTINCT FROM (NEW.function_name, NEW.output, NEW.error, NEW.child_workflow_id) THEN
        INSERT INTO @chaos_history (kind, subject, actor, verb, old_outcome, outcome)
            VALUES ('record', NEW.workflow_uuid || ' ' || NEW.function_id, current_setting('chaos.actor', true), TG_OP,
                    coalesce(OLD.output, '') || coalesce(OLD.error, ''), coalesce(NEW.output, '') || coalesce(NEW.error, ''));
    END IF;
    RETURN NULL;
END $body$;
CREATE TRIGGER chaos_record AFTER UPDATE OR DELETE ON @operation_outputs
    FOR EACH ROW EXECUTE FUNCTION @chaos_record();

CREATE FUNCTION @chaos_lease() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN
    INSERT INTO @chaos_history (kind, subject, actor, verb, pid, expires_at)
        VALUES ('lease', NEW.executor_id, current_setting('chaos.actor', true), TG_OP, NEW.pid, NEW.expires_at);
    RETURN NULL;
END $body$;
CREATE TRIGGER chaos_lease AFTER INSERT OR UPDATE ON @dbos_cpp_executors
    FOR EACH ROW EXECUTE FUNCTION @chaos_lease();
-- Those that were there before the trigger.
INSERT INTO @chaos_history (kind, subject, verb, pid, expires_at)
    SELECT 'lease', executor_id, 'INSERT', pid, expires_at FROM @dbos_cpp_executors;
)sql";

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : value;
}

int run(const std::vector<std::string>& command) {
    std::vector<char*> argv;
    for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_t pid = 0;
    int status = 0;
    if (::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return -1;
    if (::waitpid(pid, &status, 0) != pid) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

std::string parameter(const std::string& url, const char* keyword) {
    std::string value;
    PQconninfoOption* all = PQconninfoParse(url.c_str(), nullptr);
    for (PQconninfoOption* one = all; one != nullptr && one->keyword != nullptr; ++one) {
        if (std::strcmp(one->keyword, keyword) == 0 && one->val != nullptr) value = one->val;
    }
    PQconninfoFree(all);
    return value;
}

std::string make_run_directory(const std::string& name) {
    std::string pattern = (std::filesystem::temp_directory_path() / (name + "-XXXXXX")).string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + pattern);
    return pattern;
}

std::string proxied_url(const std::string& url, int port, const std::string& directory, bool local) {
    return "postgresql://" + parameter(url, "user") + "@/" + parameter(url, "dbname") +
           "?host=" + (local ? directory : "127.0.0.1") + "&port=" + std::to_string(port) +
           "&sslmode=disable&gssencmode=disable";
}

bool Server::commits_have_times() const {
    return open()->query("SHOW track_commit_timestamp").at(0, 0).text() == "on";
}

void Server::watch() const {
    std::string text;  // the bodies of functions are quoted: nobody else puts the schema in there
    for (const char* at = kWatch; *at != '\0'; ++at) {
        if (*at == '@') {
            text += '"' + options_.schema + "\".";
        } else {
            text += *at;
        }
    }
    open()->script(text);
}

bool Server::may_restart() const {
    return !environment("DBOS_TEST_POSTGRES_DATA").empty() && !environment("DBOS_TEST_POSTGRES_BIN").empty();
}

void Server::restart() const {
    const std::string data = environment("DBOS_TEST_POSTGRES_DATA");
    struct stat owner{};
    if (::stat(data.c_str(), &owner) != 0) throw std::runtime_error("no data directory " + data);
    std::vector<std::string> command;
    if (::geteuid() == 0)  // the server refuses to run as root
        command = {"setpriv", "--reuid=" + std::to_string(owner.st_uid),
                   "--regid=" + std::to_string(owner.st_gid), "--clear-groups"};
    command.push_back(environment("DBOS_TEST_POSTGRES_BIN") + "/pg_ctl");
    command.insert(command.end(), {"restart", "-s", "-w", "-m", "immediate", "-t", "60", "-D", data, "-l",
                                   data + "/../server.log"});
    if (const int code = run(command); code != 0)
        throw std::runtime_error("pg_ctl restart ended with " + std::to_string(code) + "; see " + data +
                                 "/../server.log");
}

std::size_t Server::hold_rows(std::chrono::milliseconds duration) const {
    try {
        auto connection = open();
        sql::Transaction transaction(*connection);
        const auto rows = connection->query(
            "SELECT workflow_uuid FROM @workflow_status WHERE status IN ('PENDING', 'ENQUEUED')"
            " ORDER BY random() LIMIT 5 FOR UPDATE SKIP LOCKED");
        std::this_thread::sleep_for(duration);
        return rows.size();
    } catch (const DatabaseError&) {  // it was restarted
        return 0;
    }
}

}  // namespace dbos::chaos
