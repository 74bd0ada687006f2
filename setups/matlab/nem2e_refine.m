function [results, activation] = nem2e_refine(varargin)
%NEM2E_REFINE  Refine the muscle activations of a CMC result with opensim-nem2e.
%
%   RESULTS = NEM2E_REFINE(SETUP_FILE) runs an existing setup file of STDRRefineTool.
%
%   RESULTS = NEM2E_REFINE('states_file', FILE, 'external_loads_file', FILE, ...) writes a setup file first. The names
%   are the properties of STDRRefineTool; 'opensim-nem2e info STDRRefineTool' explains them all. Values are text,
%   numbers (vectors are lists), true/false, or cell arrays of text (lists). In addition:
%      'name'         what the results' file names start with (default: that of the states file, and '_refined')
%      'setup_file'   where the setup file is written (default: NAME_setup.xml in the present folder).
%                     As in OpenSim, relative paths in it are relative to its folder.
%
%   RESULTS = NEM2E_REFINE(..., 'program', PROGRAM) says where the program is: its path, or the folder of the Python
%   environment in which it was installed. Without it, it is looked for in the environment variable
%   OPENSIM_NEM2E_PROGRAM (in startup.m: setenv('OPENSIM_NEM2E_PROGRAM', 'C:\envs\nem2e')), in the environment that
%   this file is installed in, and on the PATH.
%
%   RESULTS is a struct of the paths of what was written: directory, and states, activation, controls, emg, summary,
%   report, effective_setup ('' for what was not written), and files, a cell array of all of them.
%
%   [RESULTS, ACTIVATION] = NEM2E_REFINE(...) also reads the refined activations, see NEM2E_READ_STO.
%
%   The program's messages are shown as they come. If it fails, an error says why; its identifier is
%   'nem2e:refine:failed', so that a batch can go on with the next trial (try ... catch).
%
%   Example:
%      [results, activation] = nem2e_refine('states_file', 'cmc/walking_states.sto', 'model_file', 'walker.osim', ...
%         'external_loads_file', 'external_loads.xml', 'results_directory', 'results');
%      plot(activation.time, activation.data(:, strcmp(activation.labels, 'soleus_r')))
%
%   Runs in MATLAB (R2013a or newer) and in GNU Octave.

[values, options] = read_arguments(varargin);
program = find_program(options.program);
if isempty(fieldnames(values))
    setup_file = absolute_path(options.setup_file);
    if exist(setup_file, 'file') ~= 2
        error('nem2e:refine:setup', 'There is no setup file ''%s''.', setup_file);
    end
else
    setup_file = write_setup(values, options);
end
log_text = run_program(program, setup_file);
results = read_results(log_text);
if nargout > 1
    activation = nem2e_read_sto(results.activation);
end
end

% --- what is asked ----------------------------------------------------------------------------------------------------

function [values, options] = read_arguments(arguments)
% Separate the properties of the tool from this function's own options.
values = struct();
options = struct('program', '', 'setup_file', '', 'name', '');
existing = '';
if mod(numel(arguments), 2) == 1
    existing = char(arguments{1});
    arguments(1) = [];
end
for k = 1:numel(arguments)
    if isa(arguments{k}, 'string')
        arguments{k} = char(strjoin(arguments{k}));
    end
end
for k = 1:2:numel(arguments)
    name = arguments{k};
    if ~ischar(name)
        error('nem2e:refine:arguments', 'Argument %d must be the name of a property, as text.', k);
    end
    if isfield(options, name)
        options.(name) = arguments{k + 1};
    elseif isvarname(name)
        values.(name) = arguments{k + 1};
    else
        error('nem2e:refine:arguments', '''%s'' is not the name of a property.', name);
    end
end
if isempty(existing) == isempty(fieldnames(values))
    error('nem2e:refine:arguments', ...
        'Either an existing setup file or properties by name and value must be given: help nem2e_refine');
elseif ~isempty(existing)
    options.setup_file = existing;
end
end

function setup_file = write_setup(values, options)
% Write a setup file with the given properties, in OpenSim's grammar.
name = options.name;
if isempty(name)
    name = 'nem2e';
    for property = {'states_file', 'controls_file', 'activations_file'}
        if isfield(values, property{1})
            [~, stem] = fileparts(values.(property{1}));
            name = [regexprep(stem, '_(states|controls)$', ''), '_refined'];
            break
        end
    end
end
setup_file = options.setup_file;
if isempty(setup_file)
    setup_file = [name, '_setup.xml'];
end
setup_file = absolute_path(setup_file);
[stream, reason] = fopen(setup_file, 'w', 'n', 'UTF-8');
if stream < 0
    error('nem2e:refine:setup', 'The setup file ''%s'' cannot be written: %s', setup_file, reason);
end
closing = onCleanup(@() fclose(stream));
fprintf(stream, '<?xml version="1.0" encoding="UTF-8" ?>\n<OpenSimDocument Version="40600">\n');
fprintf(stream, '\t<STDRRefineTool name="%s">\n', escape(name));
names = fieldnames(values);
for k = 1:numel(names)
    text = escape(as_text(names{k}, values.(names{k})));
    fprintf(stream, '\t\t<%s>%s</%s>\n', names{k}, text, names{k});
end
fprintf(stream, '\t</STDRRefineTool>\n</OpenSimDocument>\n');
end

function text = as_text(name, value)
% Write a value as OpenSim does.
if ischar(value)
    text = value;
elseif iscellstr(value) %#ok<ISCLSTR>
    text = strjoin(value(:)', ' ');
elseif islogical(value) && isscalar(value)
    words = {'false', 'true'};
    text = words{value + 1};
elseif isnumeric(value)
    text = strtrim(sprintf('%.17g ', value));
else
    error('nem2e:refine:arguments', '''%s'' must be text, numbers, true/false or a cell array of text.', name);
end
end

function text = escape(text)
% Make a text fit for XML.
text = strrep(strrep(strrep(strrep(text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;');
end

% --- what is run ------------------------------------------------------------------------------------------------------

function program = find_program(given)
% Return the program's path.
if isempty(given)
    given = getenv('OPENSIM_NEM2E_PROGRAM');
end
if ~isempty(given)
    program = program_in(absolute_path(given));
    if isempty(program)
        error('nem2e:refine:program', ...
            'There is no program opensim-nem2e at ''%s''. It is in the folder ''bin'' (Windows: ''Scripts'') of the %s', ...
            given, 'Python environment in which it was installed.');
    end
    return
end
% Where pip puts this file: share/opensim-nem2e/matlab of the environment. In a clone: beside the folder .venv.
here = fileparts(mfilename('fullpath'));
program = program_in(fullfile(here, '..', '..', '..'));
if isempty(program)
    program = program_in(fullfile(here, '..', '..', '.venv'));
end
if ~isempty(program)
    return
end
if ispc
    [status, found] = system('where opensim-nem2e');
else
    [status, found] = system('which opensim-nem2e');
end
if status ~= 0
    error('nem2e:refine:program', ...
        ['The program opensim-nem2e was not found. Say where it is: nem2e_refine(..., ''program'', FOLDER) or ', ...
        'setenv(''OPENSIM_NEM2E_PROGRAM'', FOLDER), with the folder of the Python environment in which it was ', ...
        'installed.']);
end
lines = regexp(strtrim(found), '\r?\n', 'split');
program = lines{1};
end

function program = program_in(place)
% Return the program's path, where PLACE is the program or the folder of an environment; '' if it is not there.
candidates = {place};
for folder = {'', 'bin', 'Scripts'}
    for name = {'opensim-nem2e', 'opensim-nem2e.exe'}
        candidates{end + 1} = fullfile(place, folder{1}, name{1}); %#ok<AGROW>
    end
end
for k = 1:numel(candidates)
    program = candidates{k};
    if exist(program, 'file') == 2
        return
    end
end
program = '';
end

function log_text = run_program(program, setup_file)
% Run the program, its messages shown as they come; return its log.
%
% MATLAB puts its own libraries first on LD_LIBRARY_PATH, where Python would find them in place of its own.
log_file = [tempname(), '.log'];
cleaning = onCleanup(@() remove(log_file));
if ispc
    command = ['""', program, '" run "', setup_file, '" --log-file "', log_file, '""'];
else
    clear_path = 'env -u LD_LIBRARY_PATH -u DYLD_LIBRARY_PATH ';
    command = [clear_path, quote(program), ' run ', quote(setup_file), ' --log-file ', quote(log_file), ' 2>&1'];
end
status = system(command);
log_text = '';
if exist(log_file, 'file') == 2
    stream = fopen(log_file, 'r', 'n', 'UTF-8');
    log_text = fread(stream, [1, Inf], '*char');
    fclose(stream);
end
log_text = regexprep(log_text, '^\[\d{4}-\d\d-\d\d [\d:.]+\] ', '', 'lineanchors');
if status ~= 0
    log_text = without_tracebacks(log_text);
    said = log_text(min([regexp(log_text, '^\[(error|critical)\]', 'once', 'lineanchors'), end + 1]):end);
    if isempty(said)
        said = 'It left no message; see the lines above.';
    end
    error('nem2e:refine:failed', 'opensim-nem2e failed (exit status %d).\n%s', status, strtrim(said));
end
end

function text = without_tracebacks(text)
% Leave out where in the program an error was raised, which says the error again.
lines = regexp(text, '\n', 'split');
kept = true(size(lines));
for k = 1:numel(lines)
    if strncmp(lines{k}, 'Traceback (most recent call last)', 33)
        kept(k) = false;
    elseif k > 1 && ~strncmp(lines{k}, '[', 1)
        kept(k) = kept(k - 1);
    end
end
text = strjoin(lines(kept), sprintf('\n'));
end

function remove(log_file)
% Remove the log.
if exist(log_file, 'file') == 2
    delete(log_file);
end
end

function text = quote(text)
% Quote a word for the shell.
text = ['''', strrep(text, '''', '''\'''''), ''''];
end

function path = absolute_path(path)
% Return the absolute path of a file that may not exist yet.
if strncmp(path, '~/', 2)
    path = fullfile(getenv('HOME'), path(3:end));
elseif isempty(regexp(path, '^([\\/]|[A-Za-z]:)', 'once'))
    path = fullfile(pwd, path);
end
end

% --- what came out ----------------------------------------------------------------------------------------------------

function results = read_results(log_text)
% Collect the paths of all files that the program says it has written.
results = struct('directory', '', 'states', '', 'activation', '', 'controls', '', 'emg', '', 'summary', '', ...
    'report', '', 'effective_setup', '');
found = regexp(log_text, '^\[\w+\] Writing ''(.*)''\.\r?$', 'tokens', 'lineanchors', 'dotexceptnewline');
results.files = cellfun(@(token) token{1}, found, 'UniformOutput', false);
for kind = {'states', 'activation', 'controls', 'emg', 'summary', 'report', 'effective_setup'}
    for k = 1:numel(results.files)
        if ~isempty(regexp(results.files{k}, ['_', kind{1}, '\.(sto|csv|html|xml)$'], 'once'))
            results.(kind{1}) = results.files{k};
            break  % NAME_consistent_states.sto comes after NAME_states.sto
        end
    end
end
if ~isempty(results.files)
    results.directory = fileparts(results.files{end});
end
end
