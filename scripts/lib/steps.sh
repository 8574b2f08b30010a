# Running checks one after another: sourced by scripts/check and .ci/run.
#
#   step NAME COMMAND…   runs the command, its output in build/logs/NAME.log, and says how long it took
#   summary              prints `N passed, M failed` and returns whether all passed

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
mkdir -p build/logs
jobs=$(nproc)
passed=0
failed=()
# A compiler cache, if there is one, then serves every checkout of the project.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1

step() {
    local name=$1 log=build/logs/$1.log start=$SECONDS
    shift
    printf '%-16s ' "$name"
    if (set -e; "$@") </dev/null >"$log" 2>&1; then
        passed=$((passed + 1))
        printf 'passed  %4d s' $((SECONDS - start))
        # What the last line of a log says is worth a look for some.
        case $name in test* | sim* | chaos* | *san | demo | tidy | include* | client-* | cases | seam | interop | property) printf '   %s' "$(grep -E 'tests passed|^[a-z-]+: |passed(, 0 failed)?$' "$log" | tail -n 1)" ;; esac
        printf '\n'
    else
        failed+=("$name")
        printf 'FAILED  %4d s   %s\n' $((SECONDS - start)) "$log"
        tail -n "${STEP_LINES:-60}" "$log" | sed 's/^/    | /'
    fi
}

summary() {
    [ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[*]}"
    printf '%d passed, %d failed\n' "$passed" "${#failed[@]}"
    [ ${#failed[@]} -eq 0 ]
}

# Configures and builds a preset; further arguments are targets.
build_preset() {
    local preset=$1
    shift
    cmake --preset "$preset" --log-level=WARNING
    cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"}
}

# Builds a preset and runs its tests; further arguments go to ctest.
test_preset() {
    local preset=$1
    shift
    build_preset "$preset"
    DBOS_TEST_REQUIRE_POSTGRES=1 scripts/with-postgres ctest --preset "$preset" -j "$jobs" "$@"
}

# The checks beside the tests, cheapest first.
quick_checks=(format docs client-reference cases seam includes arch)
# The thread sanitizer builds everything with clang, warnings as errors, so the preset `clang` is not built as well.
all_checks=(format docs client-reference cases seam includes arch include-budget headers tidy install-static install-shared property asan tsan sim-asan sim-tsan)
[ ! -e include/dbos/app.hpp ] || all_checks+=(interop)   # its C++ side is an application

# What migrates or plans is one thread and SQL: slow under a sanitizer, and nothing that it would find.
sanitized() {
    GTEST_FILTER='-*Schema*:*Plans*:*CrashAt*:*10_000*' test_preset "$1" -L 'unit|conformance'
}

# Simulated worlds under a sanitizer. A campaign as short as that does not reach every situation; only failures count.
sim_sanitized() {
    local preset=$1
    shift
    build_preset "$preset" dbos_sim sim_tests
    export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp ${TSAN_OPTIONS-}"
    "build/$preset/tests/sim/sim_tests" --gtest_filter='Primitives*:Races*'
    for form in "$@"; do
        "build/$preset/dbos_sim" --jobs "$jobs" --any-situations $form
    done
}

# The other SDKs come from their registries: what cannot be installed is left out, and the last line says so.
check_interop() {
    build_preset dev interop_peer interop_driver interop_ticker interop_fleet
    DBOS_INTEROP_OPTIONAL=1 scripts/with-postgres tests/interop/run build/dev
}

# The long form of the client's property test, and of its test under terminated connections.
check_property() {
    build_preset dev dbos_client_property chaos_tests
    DBOS_TEST_KILL_CALLS=10000 scripts/with-postgres build/dev/chaos_tests --gtest_filter='*ClientKill*'
    scripts/with-postgres build/dev/dbos_client_property --operations 200000 --seed "${PROPERTY_SEED:-1}"
}

check_docs() {
    scripts/check-docs
    scripts/check-errors
}

# Runs one check by name; returns 2 for a name that it does not know.
run_check() {
    case $1 in
        format) step format scripts/format --check ;;
        docs) step docs check_docs ;;
        client-reference) step client-reference scripts/check-client-reference ;;
        cases) step cases scripts/check-cases ;;
        seam) step seam scripts/check-seam ;;
        includes) step includes scripts/check-includes ;;
        arch) step arch tests/arch/run ;;
        include-budget) step include-budget scripts/check-include-budget ;;
        headers) step headers build_preset clang all_verify_interface_header_sets ;;
        clang) step clang build_preset clang ;;
        tidy) step tidy scripts/tidy ;;
        install-static) step install-static tests/install/run static ;;
        install-shared) step install-shared tests/install/run shared ;;
        property) step property check_property ;;
        asan) step asan sanitized asan ;;
        tsan) step tsan sanitized tsan ;;
        sim-asan) step sim-asan sim_sanitized sim-asan "--seeds 300" "--seeds 100 --threads" ;;
        sim-tsan) step sim-tsan sim_sanitized sim-tsan "--seeds 100 --threads" ;;
        interop) step interop check_interop ;;
        *) return 2 ;;
    esac
}
