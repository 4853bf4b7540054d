# Completion of sppool(1) in bash. Needs nothing of bash-completion, but hands the program's own
# arguments to it where it is there.

_sppool() {
	local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		_sppool_words run check explain library demo --help --version
		return
	fi
	case $command in
	run)
		_sppool_run
		;;
	check)
		case $current in
		-*) _sppool_words --json --help --version ;;
		*) _sppool_program ;;
		esac
		;;
	explain)
		case $current in
		-*) _sppool_words --help --version ;;
		*) _sppool_files ;;
		esac
		;;
	demo)
		_sppool_words --requests --help --version
		;;
	library)
		_sppool_words --help --version
		;;
	esac
}

_sppool_words() {
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current")
}

_sppool_files() {
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$current")
}

_sppool_program() {
	compopt -o filenames 2>/dev/null
	case $current in
	*/*) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
	*) mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u) ;;
	esac
}

# Options of ours end where the program begins. Bash takes an = for a word of its own.
_sppool_run() {
	local at=2

	while ((at < COMP_CWORD)); do
		case ${COMP_WORDS[at]} in
		--)
			((at++))
			break
			;;
		--stats | --log)
			[ "${COMP_WORDS[at + 1]}" != = ] || ((at += 2))
			;;
		-*) ;;
		*) break ;;
		esac
		((at++))
	done
	if ((at < COMP_CWORD)); then
		if declare -F _command_offset >/dev/null; then
			_command_offset "$at"
		else
			_sppool_files
		fi
	elif ((at > COMP_CWORD)); then
		_sppool_value
	elif [[ $current == -* && ${COMP_WORDS[COMP_CWORD - 1]} != -- ]]; then
		_sppool_words --stats --log --help --version
	else
		_sppool_program
	fi
}

# What stands behind the = of an option.
_sppool_value() {
	local option=${COMP_WORDS[COMP_CWORD - 1]}

	if [ "$current" = = ]; then
		current=
	else
		option=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $option in
	--stats) _sppool_files ;;
	--log) _sppool_words 0 1 2 3 ;;
	esac
}

complete -F _sppool sppool
