function batch_cmc(varargin)
%BATCH_CMC  A batch of CMC runs in MATLAB, and what is added to it to refine each result.
%
%   batch_cmc(TRIAL, ...)      each TRIAL is a folder like ../01_refine_walking, which is also the default

here = fileparts(mfilename('fullpath'));
trials = varargin;
if isempty(trials)
    trials = {fullfile(here, '..', '01_refine_walking')};
end
addpath(fullfile(here, '..', '..', 'setups', 'matlab'));  % added: where nem2e_refine.m is
outcome = cell(size(trials));
failed = 0;

for k = 1:numel(trials)
    trial = trials{k};
    states = fullfile(trial, 'cmc', 'walking_states.sto');

    % --- your script: CMC, where it has not been run yet ---
    if exist(states, 'file') ~= 2
        cmc = org.opensim.modeling.CMCTool(fullfile(trial, 'setup_cmc.xml'));
        cmc.run();
    end

    % --- added: refine its activations; a trial that fails does not stop the others ---
    try
        [results, activation] = nem2e_refine(fullfile(trial, 'setup_refine.xml'));
        [~, row] = max(activation.data(:, strcmp(activation.labels, 'soleus_r')));
        outcome{k} = sprintf('soleus_r is most active at %.2f s, see %s', activation.time(row), results.summary);
    catch problem
        outcome{k} = ['failed: ', problem.message];
        failed = failed + 1;
    end
end

for k = 1:numel(trials)
    fprintf('%s: %s\n', trials{k}, outcome{k});
end
if failed > 0
    error('%d of %d trials failed.', failed, numel(trials));
end
end
