#include <libpq-fe.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include "bench.hpp"

namespace bench {

namespace {

std::string output_of(const std::string& command) {
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
    if (!pipe) throw std::runtime_error("cannot run: " + command);
    std::string text;
    std::array<char, 4096> buffer{};
    while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe.get())) text += buffer.data();
    return text;
}

std::string pgbench() {
    if (const char* folder = std::getenv("DBOS_TEST_POSTGRES_BIN")) {
        const std::string path = std::string(folder) + "/pgbench";
        if (access(path.c_str(), X_OK) == 0) return path;
    }
    return "pgbench";
}

double transactions(const std::string& arguments, const std::string& script, const std::string& url) {
    const std::string text = output_of(pgbench() + " -n -M prepared " + arguments + " -f " +
                                       DBOS_BENCH_FLOORS + "/" + script + " '" + url + "' 2>&1");
    const auto at = text.find("tps = ");
    if (at == std::string::npos) throw std::runtime_error("pgbench said:\n" + text);
    return std::stod(text.substr(at + 6));
}

void run(const std::string& url, const std::string& sql) {
    const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(PQconnectdb(url.c_str()), PQfinish);
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(connection.get(), sql.c_str()),
                                                                PQclear);
    if (PQresultStatus(result.get()) != PGRES_COMMAND_OK && PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
        throw std::runtime_error(sql + ": " + PQerrorMessage(connection.get()));
    }
}

}  // namespace

double postgres_sequential(const std::string& url, int seconds) {
    return transactions("-c 1 -T " + std::to_string(seconds), "step_insert.sql", url);
}

double postgres_batched(const std::string& url, int seconds) {
    return 32 * transactions("-c 4 -j 2 -T " + std::to_string(seconds), "workflows_batch32.sql", url);
}

double sqlite_steps(int batch, int rows) {
    const auto file =
        std::filesystem::temp_directory_path() / ("dbos-floor-" + std::to_string(getpid()) + ".sqlite");
    const std::string text = output_of(std::string(DBOS_BENCH_SQLITE) + " " + file.string() + " " +
                                       std::to_string(batch) + " " + std::to_string(rows) + " full");
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + suffix);
    return std::stod(text);
}

std::string create_database(const std::string& server_url, const std::string& name) {
    run(server_url, "CREATE DATABASE " + name);
    // postgresql://user@host:port/database?parameters: the database's name is replaced.
    const auto host = server_url.find("://") + 3;
    const auto slash = server_url.find('/', host);
    const auto query = server_url.find('?', host);
    const std::string tail = query == std::string::npos ? "" : server_url.substr(query);
    return server_url.substr(0, std::min(slash, query)) + "/" + name + tail;
}

void drop_database(const std::string& server_url, const std::string& name) {
    run(server_url, "DROP DATABASE IF EXISTS " + name + " WITH (FORCE)");
}

void empty_tables(const std::string& url) {
    run(url,
        "SET client_min_messages = warning; TRUNCATE dbos.workflow_status, dbos.workflow_input, "
        "dbos.workflow_output, dbos.operation_outputs CASCADE");
    for (const char* table : {"workflow_status", "workflow_input", "workflow_output", "operation_outputs"}) {
        run(url, std::string("VACUUM dbos.") + table);
    }
    run(url, "CHECKPOINT");
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

}  // namespace bench
